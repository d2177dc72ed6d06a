// Prints the sources of the sections named in the arguments, for binding.gyp. The C++ files of a folder
// are included by one file in build/units, since half of their time goes to the headers that they
// share. The kernels, which are compiled for several instruction sets, stay alone.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { posix } from 'node:path'

const wanted = process.argv.slice(2)
const units = new Map()
let section
for (const line of readFileSync('native/sources.txt', 'utf8').split(/\r?\n/)) {
  const heading = /^\[(\w+)\]$/.exec(line)
  if (heading) section = heading[1]
  else if (line && wanted.includes(section)) {
    const source = `native/${line}`
    const folder = posix.dirname(source)
    if (/\/kernels\w*\.cc$|\.cu$/.test(source)) console.log(source)
    else units.set(folder, [...(units.get(folder) ?? []), source])
  }
}

mkdirSync('build/units', { recursive: true })
for (const [folder, sources] of units) {
  const unit = `build/units/${folder.replaceAll('/', '_')}.cc`
  const text = sources.map(source => `#include "../../${source}"\n`).join('')
  // A file that is written is compiled anew.
  if (!existsSync(unit) || readFileSync(unit, 'utf8') !== text) writeFileSync(unit, text)
  console.log(unit)
}
