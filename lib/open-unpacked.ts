import { type Checkpoint, openCheckpoint } from './checkpoint.js'
import { OpenELMError } from './errors.js'

/**
 * As `openCheckpoint`, for what reads matrices row by row.
 *
 * @throws OpenELMError INVALID_ARGUMENT for a packed checkpoint.
 */
export async function openUnpacked(directory: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(directory)
  if (checkpoint.layout === 'rows') return checkpoint
  const message = `${checkpoint.directory} is packed; take the checkpoint that it was made of`
  throw new OpenELMError('INVALID_ARGUMENT', message)
}
