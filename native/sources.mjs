// The sources of sections of sources.txt: as arguments of this script, which prints them for
// binding.gyp, or of `compiledSources`. The C++ files of a folder are included by one file in `units`,
// since half of their time goes to the headers that they share. The kernels, which are compiled for
// several instruction sets, stay alone. All paths start from the package's root.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { posix } from 'node:path'
import { pathToFileURL } from 'node:url'

export function compiledSources(sections, units = 'build/units') {
  const result = []
  const folders = new Map()
  let section
  for (const line of readFileSync('native/sources.txt', 'utf8').split(/\r?\n/)) {
    const heading = /^\[(\w+)\]$/.exec(line)
    if (heading) section = heading[1]
    else if (line && sections.includes(section)) {
      const source = `native/${line}`
      const folder = posix.dirname(source)
      if (/\/kernels\w*\.cc$|\.cu$/.test(source)) result.push(source)
      else folders.set(folder, [...(folders.get(folder) ?? []), source])
    }
  }

  mkdirSync(units, { recursive: true })
  for (const [folder, sources] of folders) {
    const unit = `${units}/${folder.replaceAll('/', '_')}.cc`
    const text = sources.map(source => `#include "${posix.relative(units, source)}"\n`).join('')
    // A file that is written is compiled anew.
    if (!existsSync(unit) || readFileSync(unit, 'utf8') !== text) writeFileSync(unit, text)
    result.push(unit)
  }
  return result
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const source of compiledSources(process.argv.slice(2))) console.log(source)
}
