import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'

const root = join(import.meta.dirname, '..')
// With a package.json of its own: else 'openelm' would be the package around it, this one.
const scratch = t.testdir({ 'package.json': '{ "private": true }' })
const installed = join(scratch, 'node_modules', 'openelm')
mkdirSync(installed, { recursive: true })
copyFileSync(join(root, 'package.json'), join(installed, 'package.json'))
symlinkSync(join(root, 'node_modules', '@types'), join(scratch, 'node_modules', '@types'))
symlinkSync(
  join(root, 'node_modules', 'undici-types'),
  join(scratch, 'node_modules', 'undici-types'),
)

/** What the compiler says of a program. */
function complaints(program: ts.Program, found: readonly ts.Diagnostic[] = []): string[] {
  return [...ts.getPreEmitDiagnostics(program), ...found].map(({ file, start, messageText }) => {
    const line = file && ts.getLineAndCharacterOfPosition(file, start!).line + 1
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
}

t.test('the package has declarations', async t => {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.build.json'), ts.sys.readFile)
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const program = ts.createProgram(fileNames, {
    ...options,
    outDir: join(installed, 'dist'),
    emitDeclarationOnly: true,
    sourceMap: false,
    inlineSources: false,
  })
  t.same(complaints(program, program.emit().diagnostics), [])
})

const { Node16, Node20, NodeNext, ESNext } = ts.ModuleKind
const settings: Record<string, ts.CompilerOptions> = {
  node16: { module: Node16, skipLibCheck: true },
  node20: { module: Node20, skipLibCheck: true },
  bundler: {
    module: ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    skipLibCheck: true,
  },
  'every check there is, the declarations included': {
    module: NodeNext,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    isolatedModules: true,
    skipLibCheck: false,
  },
  'without @types/node, but with DOM, the declarations included': {
    module: NodeNext,
    types: [],
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.esnext.disposable.d.ts'],
    skipLibCheck: false,
  },
}

for (const [name, options] of Object.entries(settings)) {
  t.test(`a program compiles: ${name}`, async t => {
    const file = join(scratch, 'consumer.mts')
    copyFileSync(join(root, 'test', 'types', 'consumer.mts'), file)
    const program = ts.createProgram([file], {
      target: ts.ScriptTarget.ES2022,
      strict: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(root, 'node_modules', '@types')],
      ...options,
    })
    t.same(complaints(program), [])
  })
}

t.test(
  'a CommonJS program requires the package, where the compiler knows that Node can',
  async t => {
    const file = join(scratch, 'require.cts')
    const code = (openelm: string) =>
      `${openelm}\nexport const info: string = openelm.machineInfo().addon\n`
    const compile = (openelm: string, module: ts.ModuleKind) => {
      writeFileSync(file, code(openelm))
      const options = { module, target: ts.ScriptTarget.ES2022, strict: true, noEmit: true }
      const types = {
        skipLibCheck: true,
        types: ['node'],
        typeRoots: [join(root, 'node_modules', '@types')],
      }
      return complaints(ts.createProgram([file], { ...options, ...types }))
    }
    const required = `import * as openelm from 'openelm'`
    t.same(compile(required, Node20), [])
    t.same(compile(required, NodeNext), [])
    t.match(compile(required, Node16), [
      /CommonJS module whose imports will produce 'require' calls/,
    ])
  },
)
