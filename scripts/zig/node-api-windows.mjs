import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

const jumps = {
  x64: (name, pointer) => `
  .globl ${name}
${name}:
  jmpq *${pointer}(%rip)`,
  arm64: (name, pointer) => `
  .globl ${name}
${name}:
  adrp x16, ${pointer}
  ldr x16, [x16, :lo12:${pointer}]
  br x16`,
}

/**
 * Writes an assembly file that has every function of Node-API as a jump to where
 * find_node_api.c finds it when the addon is loaded. On Windows an import names the file that it comes
 * from, and that is node.exe in Node but not in Electron or Bun.
 */
export function writeNodeApi(file, arch) {
  const definitions = readFileSync(require.resolve('node-api-headers/def/node_api.def'), 'utf8')
  const names = definitions
    .split(/\r?\n/)
    .map(line => line.trim())
    .filter(line => /^(napi|node_api)_\w+$/.test(line))
  const symbol = index => `node_api_functions+${8 * index}`
  const text = `  .text
${names.map((name, index) => jumps[arch](name, symbol(index))).join('\n')}

  .data
  .balign 8
  .globl node_api_functions
node_api_functions:
  .zero ${8 * names.length}

  .section .rdata,"dr"
  .globl node_api_names
node_api_names:
${names.map(name => `  .asciz "${name}"`).join('\n')}
  .byte 0
`
  writeFileSync(file, text)
}
