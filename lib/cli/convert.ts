import { Command, Option } from 'commander'
import {
  adapterToGguf,
  checkpointToGguf,
  ggufDTypes,
  ggufToCheckpoint,
  isTorchFile,
  pack,
  torchToCheckpoint,
  torchToSafetensors,
} from '../convert/index.js'
import { readConfig } from '../index.js'
import { interruptSignal } from './interrupt.js'
import { Progress } from './progress.js'

export const convert = new Command('convert')
  .description(
    'make a checkpoint of a file of llama.cpp or PyTorch, a GGUF file of a checkpoint, or a packed one',
  )
  .argument('<in>', 'model directory, a .gguf, .pt, .pth or .bin file, or with -m an adapter')
  .argument('<out>', 'directory to write, or a file that ends in .gguf or .safetensors')
  .addOption(new Option('-m, --model <dir>', 'the model that the adapter <in> is for'))
  .addOption(
    new Option('--dtype <dtype>', 'number format of a GGUF file (default: as stored)').choices(
      ggufDTypes,
    ),
  )
  .option('--pack', 'pack a model directory for the CPU: see below')
  .option('--config <file>', 'the config.json of a PyTorch file, unless it is a released model')
  .addHelpText(
    'after',
    `
A q8 or q4 checkpoint and a q8_0 or q4_0 file hold the same numbers. A GGUF file carries its
tokenizer; a checkpoint gets a tokenizer.json unless it is LLaMA's.
GGUF files in F32, F16, BF16, Q8_0, Q6_K and Q4_0 are read. One with Q6_K, such as the Q4_0 files
of llama.cpp, becomes a float32 checkpoint of the same numbers; openelm quantize makes it small.
Reading GGUF needs the package @huggingface/gguf beside this one.
A LoRA adapter becomes a file in F32 or F16 for llama.cpp's --lora.
PyTorch files are what torch.save wrote since version 1.6: weights, or a training checkpoint with
them, under the names of Hugging Face or CoreNet. Nothing in them is executed. Into a .safetensors
file go all of their tensors as they are, such as those of Apple's adapters.

A packed checkpoint starts at once: it is mapped rather than read, and all processes that run it
share one copy. It holds the same numbers, for the CPU alone and in the dtype of <in>; nothing
converts it back, so keep <in>.

Examples:
  $ openelm convert OpenELM-270M OpenELM-270M.gguf --dtype q8_0
  $ openelm convert openelm-3b-instruct.gguf OpenELM-3B-Instruct
  $ openelm convert adapter adapter.gguf -m OpenELM-270M
  $ openelm convert checkpoint_average.pt OpenELM-270M
  $ openelm convert openelm_lora_270M.pt lora.safetensors
  $ openelm convert --pack OpenELM-1_1B-q8 OpenELM-1_1B-q8-packed`,
  )
  .action(async (input: string, output: string, options, command: Command) => {
    if (options.pack) await packCheckpoint(input, output, options, command)
    else if (isTorchFile(input)) await convertTorch(input, output, options, command)
    else await convertGguf(input, output, options, command)
  })

interface ConvertOptions {
  dtype?: (typeof ggufDTypes)[number]
  model?: string
  config?: string
}

async function packCheckpoint(
  input: string,
  output: string,
  { dtype, model, config }: ConvertOptions,
  command: Command,
): Promise<void> {
  if (isTorchFile(input) || isGguf(input)) command.error('--pack is for model directories')
  if (dtype) command.error('--dtype is for GGUF files')
  if (config) command.error('--config is for PyTorch files')
  if (model !== undefined) command.error('-m is for adapters that become GGUF files')
  using bar = new Progress('Packing')
  await pack(input, output, { onProgress: bar.update, signal: interruptSignal() })
}

async function convertTorch(
  input: string,
  output: string,
  { dtype, model, config }: ConvertOptions,
  command: Command,
): Promise<void> {
  if (isGguf(output))
    command.error('make a checkpoint of the PyTorch file, and a GGUF file of that')
  if (dtype) command.error('--dtype is for GGUF files')
  if (model !== undefined) command.error('-m is for adapters that become GGUF files')
  const toSafetensors = output.toLowerCase().endsWith('.safetensors')
  if (config && toSafetensors) command.error('--config is for checkpoints')
  const shape = config === undefined ? undefined : await readConfig(config)
  using bar = new Progress('Converting')
  const options = { onProgress: bar.update, signal: interruptSignal() }
  if (toSafetensors) await torchToSafetensors(input, output, options)
  else await torchToCheckpoint(input, output, { ...options, config: shape })
}

async function convertGguf(
  input: string,
  output: string,
  { dtype, model, config }: ConvertOptions,
  command: Command,
): Promise<void> {
  const fromGguf = isGguf(input)
  if (fromGguf === isGguf(output)) {
    command.error('expected one of <in> and <out> to end in .gguf, or <in> in .pt, .pth or .bin')
  }
  if (fromGguf && dtype) command.error('--dtype is for GGUF files')
  if (config) command.error('--config is for PyTorch files')
  if (model !== undefined) {
    if (fromGguf) command.error('-m is for adapters')
    const type = dtype as 'f32' | 'f16' | undefined // others are refused
    return adapterToGguf(input, output, { model, dtype: type, signal: interruptSignal() })
  }
  using bar = new Progress('Converting')
  const options = { onProgress: bar.update, signal: interruptSignal() }
  if (fromGguf) await ggufToCheckpoint(input, output, options)
  else await checkpointToGguf(input, output, { ...options, dtype })
}

function isGguf(path: string): boolean {
  return path.toLowerCase().endsWith('.gguf')
}
