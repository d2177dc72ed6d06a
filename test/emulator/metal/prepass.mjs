// Rewrites what macros cannot about Metal source, so that a C++ compiler takes the rest:
//   node prepass.mjs run|lint <output.cc> [files.metal...]
// `run` makes a unit that registers every kernel with the emulator (shim.h), `lint` one that
// is only checked (lint.h). Without files it takes the shaders that ship.
import { writeFileSync } from 'node:fs'
import { shaderSource } from '../../../native/metal/embed_shaders.mjs'

const [mode, output, ...files] = process.argv.slice(2)
if (!output || !['run', 'lint'].includes(mode)) {
  throw new Error('usage: node prepass.mjs run|lint <output.cc> [files.metal...]')
}

const attribute = /\s*\[\[\s*(\w+)(?:\((\w+)\))?\s*\]\]/

// `constant uint kName [[function_constant(3)]];`
function functionConstants(text) {
  return text.replace(
    /^constant (\w+) (\w+) \[\[function_constant\((\d+)\)\]\];/gm,
    'FUNCTION_CONSTANT($1, $2, $3);',
  )
}

// `threadgroup float name[4][8];` inside a body: one array of the whole threadgroup.
function threadgroupArrays(text) {
  return text.replace(
    /^(\s+)threadgroup (\w+) (\w+)((?:\[[^\]]+\])+);/gm,
    '$1THREADGROUP_ARRAY($2, $3, $4);',
  )
}

// One parameter of a kernel as the expression that gives its argument, from an attribute such as
// [[buffer(3)]] or [[thread_index_in_simdgroup]].
function argument(parameter) {
  const [whole, name, index] = attribute.exec(parameter) ?? []
  if (!whole) throw new Error(`a kernel's parameter has no attribute: ${parameter}`)
  const type = parameter.slice(0, parameter.indexOf('[[')).trim().replace(/\w+$/, '').trim()
  if (name !== 'buffer') return `at.${name}<${type}>()`
  return type.endsWith('&')
    ? `at.constants<${type.replace(/&$/, '')}>(${index})`
    : `at.buffer<${type}>(${index})`
}

const kernels = []
const kernel =
  /(?:\[\[max_total_threads_per_threadgroup\((\w+)\)\]\]\s*)?\bkernel void (\w+)\(([^)]*(?:\(\w+\)\]\][^)]*)*)\)\s*\{/g

// The parameters of `kernel void name(...)` lose their attributes.
function kernelParameters(text) {
  return text.replace(kernel, (_, maxThreads, name, list) => {
    const parameters = list.split(',')
    const buffers = [...list.matchAll(/\[\[buffer\((\d+)\)\]\]/g)].map(match => match[1])
    kernels.push({ name, maxThreads, arguments: parameters.map(argument), buffers })
    const plain = parameters.map(parameter => parameter.replace(attribute, ''))
    const limit = maxThreads ? `static_assert(${maxThreads} <= 1024, "too many threads");\n` : ''
    return `${limit}kernel void ${name}(${plain.join(',')}) {`
  })
}

const source = shaderSource(files.length > 0 ? files : undefined).replace(
  '#include <metal_stdlib>',
  '',
)
const body = kernelParameters(threadgroupArrays(functionConstants(source)))
const left = attribute.exec(body)
if (left) throw new Error(`an attribute that the emulator does not know: ${left[0]}`)

// A kernel that asks for no number of threads may get as few as this, if it needs many registers.
const fewestThreads = 256

const registry = kernels.map(
  kernel => `REGISTER_KERNEL(${kernel.name}, ${kernel.maxThreads ?? fewestThreads}, (${kernel.name}(
    ${kernel.arguments.join(',\n    ')})), ${kernel.buffers})
`,
)
const header = mode === 'run' ? 'shim.h' : 'lint.h'
writeFileSync(
  output,
  `#include "${header}"\n${body}${mode === 'run' ? `#line 1 "registry"\n${registry.join('')}` : ''}`,
)
