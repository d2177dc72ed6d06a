import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DType, type Layout, tensorHeaders } from '../../lib/checkpoint.js'
import { configToJson, presets } from '../../lib/config.js'
import { byteLengthOf, encodeSafetensorsHeader } from '../../lib/safetensors.js'

/** Writes a model of a released size whose weights are all 0: a hole in the file, which takes no disk. */
export function writeSparseCheckpoint(
  directory: string,
  preset: keyof typeof presets,
  dtype: DType,
  layout: Layout = 'rows',
): string {
  const config = presets[preset]
  const headers = tensorHeaders(config, dtype, undefined, layout)
  const isQuantised = dtype === 'q8' || dtype === 'q4'
  const header = encodeSafetensorsHeader(headers, {
    format: 'pt',
    ...(isQuantised && { 'openelm.dtype': dtype, 'openelm.group_size': '32' }),
    ...(layout === 'panels' && { 'openelm.layout': layout }),
  })
  const weights = join(directory, 'model.safetensors')
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'config.json'), JSON.stringify(configToJson(config, dtype)))
  writeFileSync(weights, header)
  truncateSync(
    weights,
    headers.reduce((sum, tensor) => sum + byteLengthOf(tensor), header.length),
  )
  return directory
}
