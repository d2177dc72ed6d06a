import { join } from 'node:path'
import type { AdapterTarget } from '../../lib/adapters/adapter.js'
import { writeAdapter } from '../../lib/adapters/write-adapter.js'
import { readConfig, tensorSpecs } from '../../lib/config.js'
import type { DType } from '../../lib/tensor-headers.js'

/** Writes an adapter of rank 2 for all matrices of the layers of a model. Returns its directory. */
export async function writeRandomAdapter(
  directory: string,
  model: string,
  method: 'lora' | 'dora' = 'lora',
  baseDType?: DType,
): Promise<string> {
  const config = await readConfig(join(model, 'config.json'))
  const specs = tensorSpecs(config).filter(({ name }) => name.includes('proj'))
  const values = (size: number) =>
    Float32Array.from({ length: size }, (_, i) => Math.sin(7 * i) / 9)
  const targets = specs.map(({ name, shape: [rows, columns] }): [string, AdapterTarget] => {
    const magnitudes = method === 'dora' ? new Float32Array(rows!).fill(0.3) : undefined
    return [name, { rank: 2, scale: 1, a: values(2 * columns!), b: values(2 * rows!), magnitudes }]
  })
  const adapter = { method, targets: new Map(targets), adaptsHead: false }
  await writeAdapter(directory, adapter, null, baseDType)
  return directory
}
