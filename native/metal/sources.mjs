// Prints the sources of the Metal backend, or with --shaders what its shaders are made of, for binding.gyp.
import { readdirSync } from 'node:fs'

const names = readdirSync(import.meta.dirname)
const isWanted = process.argv.includes('--shaders')
  ? name => /\.(metal|h)$/.test(name)
  : name => name.endsWith('.cc') && name !== 'no_metal.cc'
for (const name of names.filter(isWanted)) console.log(`native/metal/${name}`)
