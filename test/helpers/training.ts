import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type OpenELMConfig, parseConfig } from '../../lib/config.js'
import type { TrainOptions } from '../../lib/train/recipe.js'
import { train } from '../../lib/train/train.js'
import type { TrainStep } from '../../lib/train/train-step.js'
import { trainTokenizer } from '../../lib/train/train-tokenizer.js'

/** A page of plain English. */
export const page = `The keeper of the lighthouse had two lamps, one for the sea and one for himself.
Every evening he climbed the ninety steps, wiped the glass, and lit the first. Then he went down again,
put the kettle on, and lit the second. The ships saw only the first, but it was by the second that he
read. In winter, when no ship came for weeks, he read a great deal: the almanac, the letters of his
brother in Bergen, and a book about bees, which he had never kept. He thought that a hive must be like
his tower, with a light in the middle and weather all around. When the spring came at last, a boat
brought him flour, oil and a small wooden box that hummed. There was no letter with it. He carried it up
to the gallery, turned it to the south, and took off the lid. That summer the sailors told each other of
a lighthouse that smelled of clover, and of a keeper who no longer read.
`

/** The smallest model that has layers of different shapes. */
export const tinyJson = {
  vocab_size: 300,
  max_context_length: 32,
  num_transformer_layers: 2,
  model_dim: 32,
  head_dim: 8,
  num_gqa_groups: 2,
  qkv_multipliers: [0.5, 1.0],
  ffn_multipliers: [0.5, 2.0],
  ffn_dim_divisor: 16,
  normalize_qk_projections: true,
  share_input_output_layers: true,
}

export const tiny: OpenELMConfig = parseConfig(tinyJson, 'tiny')

export const tinyTokenizer: object = await trainTokenizer([page], tinyJson.vocab_size)

/** Writes the page and returns options of a short run on it. */
export function tinyRun(dir: string, options: Partial<TrainOptions> = {}): TrainOptions {
  mkdirSync(dir, { recursive: true })
  const data = join(dir, 'page.txt')
  writeFileSync(data, page)
  return {
    config: tiny,
    tokenizer: tinyTokenizer,
    data: [data],
    out: join(dir, 'run'),
    steps: 12,
    batchSize: 4,
    microBatchSize: 2,
    packing: true,
    minTokens: 0,
    maxLearningRate: 1e-2,
    warmupSteps: 4,
    checkpointSteps: 4,
    threads: 1,
    ...options,
  }
}

export async function runAll(options: TrainOptions): Promise<TrainStep[]> {
  const steps: TrainStep[] = []
  for await (const step of train(options)) steps.push(step)
  return steps
}

/** The files that make a checkpoint: equal ones mean equal runs, up to then and from then on. */
export function checkpointBytes(directory: string): Buffer[] {
  const names = ['model.safetensors', 'optimizer.safetensors', 'training.json']
  return names.map(name => readFileSync(join(directory, name)))
}
