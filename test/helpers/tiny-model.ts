import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConfigJson } from '../reference.js'
import { testConfigs, writeTestCheckpoint } from './checkpoints.js'
import type { FloatDType } from './safetensors.js'

/** Writes a model of random weights whose tokens are bytes; it loads in no time. */
export function writeTinyModel(
  directory: string,
  given: keyof typeof testConfigs | ConfigJson = 'no-qk-norm',
  dtype: FloatDType = 'F32',
) {
  const config = typeof given === 'string' ? testConfigs[given] : given
  writeTestCheckpoint(directory, config, { dtype, seed: 1 })
  const byte = (_: unknown, i: number) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`
  const pieces = ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, byte)]
  const tokenizer = {
    added_tokens: pieces.slice(0, 3).map((content, id) => ({ id, content, special: true })),
    decoder: { type: 'ByteFallback' },
    model: {
      type: 'BPE',
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [],
    },
  }
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer))
  return directory
}
