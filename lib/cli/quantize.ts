import { Command, Option } from 'commander'
import {
  type Checkpoint,
  openCheckpoint,
  type TensorHeader,
  writeCheckpoint,
} from '../checkpoint.js'
import { companionNames, readCompanions } from '../companions.js'
import { defaultThreads } from '../cpu-quota.js'
import { OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import { readFloat32 } from '../read-float32.js'
import { interruptSignal } from './interrupt.js'
import { integer } from './options.js'
import { Progress } from './progress.js'

export const quantize = new Command('quantize')
  .description('make a smaller and faster checkpoint of one in floating point')
  .argument('<in>', 'model directory')
  .argument('<out>', 'directory to write')
  .addOption(
    new Option('--dtype <dtype>', 'q8: 8.5 bits a weight; q4: 4.5, with the embedding in q8')
      .choices(['q8', 'q4'])
      .makeOptionMandatory(),
  )
  .addOption(
    new Option('--threads <n>', 'CPU threads (default: one per physical core)').argParser(
      integer(1),
    ),
  )
  .addHelpText(
    'after',
    `
Also copies what is there of
${companionNames.join(', ')}.

Example:
  $ openelm quantize --dtype q4 OpenELM-3B-Instruct OpenELM-3B-Instruct-q4`,
  )
  .action(async (input: string, output: string, { dtype, threads }) => {
    const checkpoint = await openCheckpoint(input)
    using bar = new Progress('Quantising')
    await writeCheckpoint(output, checkpoint.config, dtype, quantizer(checkpoint, threads), {
      companions: await readCompanions(checkpoint.directory),
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })

/** Gives the tensors of a quantised checkpoint, from those of a float checkpoint. */
function quantizer({ directory, dtype, tensors }: Checkpoint, threads?: number) {
  if (dtype === 'q8' || dtype === 'q4') {
    throw new OpenELMError('INVALID_ARGUMENT', `${directory} is quantised already, as ${dtype}`)
  }
  const addon = loadNative()
  const numThreads = threads ?? defaultThreads()
  let scales: Uint8Array

  return async function* (header: TensorHeader): AsyncGenerator<Uint8Array> {
    const tensor = tensors.get(header.name)
    if (tensor === undefined) {
      yield scales // which are asked for right after their matrix
    } else if (tensor.shape.length === 1) {
      yield new Uint8Array((await readFloat32(tensor)).buffer)
    } else {
      // The vocabulary may have fewer rows than its matrix, which CoreNet pads.
      const [rows, cols] = [header.shape[0]!, tensor.shape[1]!]
      const type = header.dtype === 'I8' ? 'q8' : 'q4'
      const matrix = await addon.quantize({ ...tensor, rows, cols }, type, numThreads)
      scales = matrix.scales
      yield matrix.values
    }
  }
}
