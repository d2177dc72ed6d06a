import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { clients, skip } from './installed.js'

const root = join(import.meta.dirname, '..', '..')
const file = join(root, 'test', 'types', 'ai-sdk.mts')
const packages = ['ai6', 'ai7', 'provider3', 'provider4']

const typesOf = (name: string) => join(clients, 'node_modules', name, 'dist', 'index.d.ts')

t.test('the types are those of the specification', { skip }, async t => {
  const program = ts.createProgram([file], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: [
      'lib.es2023.d.ts',
      'lib.es2024.string.d.ts',
      'lib.esnext.disposable.d.ts',
      'lib.dom.d.ts',
      'lib.dom.asynciterable.d.ts',
    ],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
    paths: {
      openelm: [join(root, 'lib', 'index.ts')],
      'openelm/ai-sdk': [join(root, 'lib', 'ai-sdk', 'index.ts')],
      ...Object.fromEntries(packages.map(name => [name, [typesOf(name)]])),
    },
  })
  const complaints = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file && ts.getLineAndCharacterOfPosition(file, start!).line + 1
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
  t.same(
    complaints.filter(text => text.startsWith(file) || text.includes('/lib/ai-sdk/')),
    [],
  )
})
