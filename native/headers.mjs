// Prints what the kernels of a GPU backend may include, for binding.gyp: node native/headers.mjs FOLDER.
import { readdirSync } from 'node:fs'

for (const folder of ['native', `native/${process.argv[2]}`]) {
  for (const name of readdirSync(folder)) {
    if (/\.(h|cuh|metal|mjs)$/.test(name)) console.log(`${folder}/${name}`)
  }
}
