import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { type Checkpoint, openCheckpoint, tensorHeaders } from '../convert/index.js'
import { countParameters, dtypes, type OpenELMConfig } from '../index.js'
import { finetuningMemory, isAdapter, predictScaling, trainingMemory } from '../train/index.js'
import { configOptions, readNamedConfig } from './config-options.js'
import { formatBytes, formatCount } from './format.js'
import { printAdapter } from './inspect-adapter.js'
import { addOptions, integer, namedModel } from './options.js'
import { print } from './output.js'
import { formatTable } from './table.js'

export const inspect = addOptions(new Command('inspect'), configOptions)
  .description('show what a model is made of and how much memory it needs, or what an adapter is')
  .argument('[model]', 'the same as -m; or an adapter, of which -m is then the base')
  .addOption(new Option('-m, --model <dir>', 'model directory, or a bundled model'))
  .option('--tensors', 'list the tensors of the checkpoint as well')
  .option('--train <n>', 'show the memory that training with n tokens at a time takes', integer(1))
  .option('--ranks <n>', 'how many processes share the training (default: 1)', integer(1))
  .option('--finetune <n>', 'the same of fine-tuning, by each method', integer(1))
  .option('--rank <n>', 'of the adapter that --finetune is about (default: 16)', integer(1))
  .option('--json', 'print one JSON object')
  .addHelpText(
    'after',
    `
Of a model only headers are read, so even the largest takes no time. The names are those of
config.json; --json has those of the API.
An adapter is a directory of PEFT or mlx-lm, or a .safetensors file with CoreNet's names. With
its base (-m) it also tells how long the change of each matrix is, as a share of the matrix's own
length.

Examples:
  $ openelm inspect OpenELM-270M --tensors
  $ openelm inspect --preset 3B --finetune 1024
  $ openelm inspect my-adapter -m OpenELM-270M`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    if (argument !== undefined && (await isAdapter(argument))) {
      const others = ['tensors', 'train', 'ranks', 'finetune', 'preset', 'config']
      const other = others.find(name => options[name] !== undefined)
      if (other !== undefined) command.error(`--${other} is for models`)
      return printAdapter(argument, options)
    }
    const dir = namedModel(argument, options, command)
    const named = await readNamedConfig(options)
    if ((dir === undefined) === (named === undefined)) {
      command.error('expected one of a model, --preset and --config')
    }
    if (options.ranks && !options.train) command.error('--ranks goes with --train')
    if (options.tensors && dir === undefined) command.error('--tensors needs a model')

    const checkpoint = dir === undefined ? undefined : await openCheckpoint(dir)
    const config = (checkpoint?.config ?? named)!
    const facts = {
      parameters: countParameters(config),
      config,
      layers: describeLayers(config),
      memory: estimateMemory(config, options),
      ...(checkpoint && { checkpoint: describeCheckpoint(checkpoint, options.tensors) }),
    }
    if (options.json) console.log(JSON.stringify(facts))
    else print(`${format(facts)}\n`)
  })

interface Facts {
  parameters: number
  config: OpenELMConfig
  layers: ReturnType<typeof describeLayers>
  memory: ReturnType<typeof estimateMemory>
  checkpoint?: ReturnType<typeof describeCheckpoint>
}

function describeLayers(config: OpenELMConfig) {
  const headers = tensorHeaders(config, 'float32')
  return config.ffnDims.map((ffnDim, layer) => ({
    numQueryHeads: config.numQueryHeads[layer]!,
    numKvHeads: config.numKvHeads[layer]!,
    ffnDim,
    parameters: headers
      .filter(({ name }) => name.includes(`.layers.${layer}.`))
      .reduce((sum, { byteLength }) => sum + byteLength / 4, 0),
  }))
}

/** Bytes of the weights in each dtype, of one KV cache of the model's whole context, of training. */
function estimateMemory(
  config: OpenELMConfig,
  options: { train?: number; ranks?: number; finetune?: number; rank?: number },
) {
  const { train, ranks = 1, finetune, rank = 16 } = options
  const weightBytes = dtypes.map(dtype => {
    const headers = tensorHeaders(config, dtype)
    return [dtype, headers.reduce((sum, { byteLength }) => sum + byteLength, 0)] as const
  })
  const numKvHeads = config.numKvHeads.reduce((sum, heads) => sum + heads, 0)
  const cached = 2 * numKvHeads * config.headDim * config.maxContextLength
  return {
    weights: Object.fromEntries(weightBytes),
    kvCache: { float32: 4 * cached, float16: 2 * cached },
    training: train && estimateTraining(config, train, ranks),
    ...(train && ranks > 1 && { exchange: estimateExchange(config, ranks) }),
    finetuning: finetune && estimateFinetuning(config, finetune, rank),
  }
}

/** Of each method beside weights of each dtype, with activations that are kept or recomputed. */
function estimateFinetuning(config: OpenELMConfig, tokens: number, rank: number) {
  return (['lora', 'dora', 'full'] as const).flatMap(method =>
    [false, true].map(recompute => {
      const kinds = method === 'full' ? (['float32'] as const) : dtypes
      const bytes = kinds.map(dtype => {
        const shape = { method, rank, dtype, tokens, recompute }
        return [dtype, finetuningMemory(config, shape)] as const
      })
      return { method, recompute, bytes: Object.fromEntries(bytes) }
    }),
  )
}

/** Of each rank in a step: the bytes that it sends, and how many tokens it should have. */
function estimateExchange(config: OpenELMConfig, ranks: number) {
  const flops = 1e12
  const tokensFor = (bandwidth: number) => {
    const { efficiency } = predictScaling(config, { ranks, tokens: ranks, flops, bandwidth })
    return Math.ceil(9 * (1 / efficiency - 1))
  }
  const links = { '1 GbE': 1.1e8, '10 GbE': 1.1e9, '100 GbE': 1.1e10 }
  const entries = Object.entries(links).map(([link, bytes]) => [link, tokensFor(bytes)] as const)
  const { bytes } = predictScaling(config, { ranks, tokens: ranks, flops, bandwidth: 1 })
  return { bytes, tokensPerTeraflops: Object.fromEntries(entries) }
}

function estimateTraining(config: OpenELMConfig, tokens: number, ranks: number) {
  const shape = { microBatchSize: 1, sequenceLength: tokens, split: ranks, ranks }
  return {
    kept: trainingMemory(config, { ...shape, recompute: false }),
    recomputed: trainingMemory(config, { ...shape, recompute: true }),
  }
}

function describeCheckpoint(checkpoint: Checkpoint, withTensors: boolean) {
  const { directory, dtype, layout, byteLength, unexpected, remarks, tensors } = checkpoint
  return {
    directory,
    dtype,
    layout,
    byteLength,
    unexpected,
    remarks,
    ...(withTensors && { tensors: [...tensors.values()] }),
  }
}

function format({ parameters, config, layers, memory, checkpoint }: Facts): string {
  const summary = [['parameters', formatCount(parameters)]]
  if (checkpoint) {
    const { dtype, layout, byteLength } = checkpoint
    const packed = layout === 'panels' ? ', packed' : ''
    summary.push(['stored as', `${dtype}${packed}, ${formatBytes(byteLength)}`])
    if (checkpoint.unexpected.length > 0) summary.push(['unused', checkpoint.unexpected.join(', ')])
    for (const remark of checkpoint.remarks) summary.push(['remark', remark])
  }
  for (const [name, value] of Object.entries(config)) {
    if (!Array.isArray(value)) summary.push([nameInFile(name), String(value)])
  }
  const layerRows = layers.map((layer, i) =>
    [i, ...Object.values(layer).map(formatCount)].map(String),
  )
  const memoryRows = [
    ...byteRows('weights', memory.weights),
    ...byteRows('KV cache', memory.kvCache),
    ...byteRows('training, activations', memory.training || {}),
  ]
  if (memory.exchange) {
    const { bytes, tokensPerTeraflops } = memory.exchange
    memoryRows.push(['sent by each process in a step', formatBytes(bytes)])
    for (const [link, tokens] of Object.entries(tokensPerTeraflops)) {
      const what = `tokens a step for each of its TFLOP/s, for 90% with ${link}`
      memoryRows.push([what, formatCount(tokens)])
    }
  }
  const tables = [
    formatTable(summary, [], 2),
    formatTable(layerRows, ['layer', 'query heads', 'KV heads', 'FFN width', 'parameters'], 0),
    formatTable(memoryRows),
  ]
  if (memory.finetuning) {
    const rows = memory.finetuning.map(({ method, recompute, bytes }) => [
      recompute ? `${method}, recomputed` : method,
      ...dtypes.map(dtype => (bytes[dtype] === undefined ? '' : formatBytes(bytes[dtype]))),
    ])
    tables.push(formatTable(rows, ['fine-tuning', ...dtypes]))
  }
  if (checkpoint?.tensors) {
    const rows = checkpoint.tensors.map(({ name, dtype, shape, file }) => [
      name,
      dtype,
      shape.join(' x '),
      basename(file),
    ])
    tables.push(formatTable(rows, ['tensor', 'dtype', 'shape', 'file'], 4))
  }
  return tables.join('\n\n')
}

/** What config.json calls a field of the API. */
function nameInFile(name: string): string {
  if (name === 'numLayers') return 'num_transformer_layers'
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

function byteRows(what: string, bytes: Record<string, number>): string[][] {
  return Object.entries(bytes).map(([dtype, count]) => [`${what}, ${dtype}`, formatBytes(count)])
}
