import { Command, Option } from 'commander'
import { adapterToGguf, checkpointToGguf, ggufDTypes, ggufToCheckpoint } from '../convert/index.js'
import { interruptSignal } from './interrupt.js'
import { Progress } from './progress.js'

export const convert = new Command('convert')
  .description('make a GGUF file for llama.cpp of a checkpoint, or a checkpoint of a GGUF file')
  .argument('<in>', 'model directory, a file that ends in .gguf, or with -m an adapter')
  .argument('<out>', 'file to write that ends in .gguf, or directory')
  .addOption(new Option('-m, --model <dir>', 'the model that the adapter <in> is for'))
  .addOption(
    new Option('--dtype <dtype>', 'number format of a GGUF file (default: as stored)').choices(
      ggufDTypes,
    ),
  )
  .addHelpText(
    'after',
    `
A q8 or q4 checkpoint and a q8_0 or q4_0 file hold the same numbers. A GGUF file carries its
tokenizer; a checkpoint gets a tokenizer.json unless it is LLaMA's.
GGUF files in F32, F16, BF16, Q8_0, Q6_K and Q4_0 are read. One with Q6_K, such as the Q4_0 files
of llama.cpp, becomes a float32 checkpoint of the same numbers; openelm quantize makes it small.
Reading GGUF needs the package @huggingface/gguf beside this one.
A LoRA adapter becomes a file in F32 or F16 for llama.cpp's --lora.

Examples:
  $ openelm convert OpenELM-270M OpenELM-270M.gguf --dtype q8_0
  $ openelm convert openelm-3b-instruct.gguf OpenELM-3B-Instruct
  $ openelm convert adapter adapter.gguf -m OpenELM-270M`,
  )
  .action(async (input: string, output: string, { dtype, model }, command: Command) => {
    const [fromGguf, toGguf] = [input, output].map(path => path.toLowerCase().endsWith('.gguf'))
    if (fromGguf === toGguf) command.error('expected one of <in> and <out> to end in .gguf')
    if (fromGguf && dtype) command.error('--dtype is for GGUF files')
    if (model !== undefined) {
      if (fromGguf) command.error('-m is for adapters')
      return adapterToGguf(input, output, { model, dtype, signal: interruptSignal() })
    }
    using bar = new Progress('Converting')
    const options = { onProgress: bar.update, signal: interruptSignal() }
    if (fromGguf) await ggufToCheckpoint(input, output, options)
    else await checkpointToGguf(input, output, { ...options, dtype })
  })
