// Makes the header that carries the shaders as text: node embed_shaders.mjs <output.h>
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const directory = dirname(fileURLToPath(import.meta.url))

const kernelFiles = [
  'embed.metal',
  'norm_qkv.metal',
  'attention.metal',
  'out_proj_add.metal',
  'norm_swiglu.metal',
  'ffn_down_add.metal',
  'norm_logits.metal',
  'sample.metal',
]

// All shaders as one translation unit. Metal compiles from memory, where #include "..." finds no
// file, so each header's text stands where it is first included; #line keeps the compiler's
// messages true.
export function shaderSource(files = kernelFiles.map(file => join(directory, file))) {
  const included = new Set()
  const expand = path => {
    if (included.has(path)) return ''
    included.add(path)
    const name = basename(path)
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    const expanded = lines.map((line, index) => {
      if (line.trim() === '#pragma once') return ''
      const include = /^#include "(.*)"$/.exec(line)
      if (!include) return line
      return `${expand(join(dirname(path), include[1]))}#line ${index + 2} "${name}"`
    })
    return `#line 1 "${name}"\n${expanded.join('\n')}\n`
  }
  return files.map(expand).join('')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const output = process.argv[2]
  if (!output) throw new Error('usage: node embed_shaders.mjs <output.h>')
  mkdirSync(dirname(output), { recursive: true })
  writeFileSync(
    output,
    `// Made by ${basename(process.argv[1])} from the .metal files.
#pragma once

namespace openelm {

inline constexpr char kShaderSource[] = R"metal(
${shaderSource()})metal";

}  // namespace openelm
`,
  )
}
