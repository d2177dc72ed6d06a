// The lint accepts the shaders that ship and rejects what Apple's compiler would:
//   node lint_test.mjs <clang++>
import { strictEqual } from 'node:assert'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const compiler = process.argv[2] ?? 'clang++'
const directory = dirname(fileURLToPath(import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'metal-lint-'))
const timeout = 300_000
process.on('exit', () => rmSync(scratch, { recursive: true }))

const flags = [
  ['-std=c++14', '-fsyntax-only', `-I${directory}`, '-Wall', '-Wextra', '-Werror'],
  ['-Werror=shorten-64-to-32', '-Werror=c++11-narrowing', '-Werror=float-conversion'],
  ['-Werror=old-style-cast'],
].flat()

// What the compiler says about these files; '' when nothing.
function lint(...files) {
  const unit = join(scratch, 'unit.cc')
  execFileSync(process.execPath, [join(directory, 'prepass.mjs'), 'lint', unit, ...files], {
    timeout,
  })
  const { status, stderr, error } = spawnSync(compiler, [...flags, unit], {
    encoding: 'utf8',
    timeout,
  })
  if (error) throw error
  return status === 0 && stderr === '' ? '' : stderr
}

// A kernel around one statement.
function kernel(statement, before = '') {
  return `#include <metal_stdlib>
using namespace metal;
struct Args {
  uint count;
  float scale;
};
${before}
kernel void seeded(device float* to [[buffer(0)]],
                   device const float* from [[buffer(1)]],
                   constant Args& args [[buffer(2)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float shared[32];
  shared[lane] = from[lane] * args.scale;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  ${statement}
}
`
}

const takesThreadgroup = 'static inline float first(threadgroup const float* p) { return p[0]; }'
const takesDevice = 'static inline void clear(device float* p) { p[0] = 0.0f; }'
const cases = [
  ['a sound kernel', 'to[lane] = simd_sum(shared[lane]);', '', null],
  [
    'device memory for threadgroup',
    'to[lane] = first(from);',
    takesThreadgroup,
    /no matching function/,
  ],
  ['threadgroup memory for device', 'clear(shared);', takesDevice, /no matching function/],
  [
    'a pointer that changes its space',
    'threadgroup float* p = to; p[0] = 0.0f;',
    '',
    /cannot initialize/,
  ],
  [
    'a cast that changes the space',
    'to[0] = *reinterpret_cast<threadgroup const float*>(from);',
    '',
    /reinterpret_cast/,
  ],
  ['a cast that could', 'to[0] = *(threadgroup float*)from;', '', /old-style cast/],
  ['a pointer without a space', 'float* p = to; p[0] = 0.0f;', '', /cannot initialize/],
  ['a write to constants', 'args.scale = 2.0f;', '', /cannot assign|const/],
  ['a write through const', 'from[lane] = 2.0f;', '', /read-only|const/],
  ['const dropped', 'clear(from);', takesDevice, /no matching function/],
  ['a narrowed initialiser', 'Args a = Args{args.scale, 1.0f}; to[0] = a.scale;', '', /narrow/],
  [
    'a narrowed index',
    'const ulong big = lane; uint small = big; to[small] = 0.0f;',
    '',
    /precision/,
  ],
  ['a float that becomes an index', 'uint i = args.scale; to[i] = 0.0f;', '', /float/],
]

strictEqual(lint(), '', 'the shaders that ship')
for (const [name, statement, before, expected] of cases) {
  const file = join(scratch, 'seeded.metal')
  writeFileSync(file, kernel(statement, before))
  const said = lint(file)
  strictEqual(expected ? expected.test(said) : said === '', true, `${name}: ${said || 'accepted'}`)
}
