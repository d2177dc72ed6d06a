import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'
import { pauses } from '../steps.js'

/**
 * The rows of a Parquet file. Integers of 64 bits become numbers.
 *
 * @throws OpenELMError DEPENDENCY_NOT_FOUND without `hyparquet`, IO_ERROR, INVALID_DATA.
 */
export async function readParquet(
  path: string,
  signal?: AbortSignal,
): Promise<Record<string, unknown>[]> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } =
    await importHyparquet(path)
  const file = await asyncBufferFromFile(path).catch((cause: unknown) => {
    throw ioError('read', path, cause)
  })
  const rows: Record<string, unknown>[] = []
  const pause = pauses(signal)
  try {
    const metadata = await parquetMetadataAsync(file)
    // One group of rows at a time, of which the data sets of the hub have one for each 1,000 rows.
    for (const { num_rows } of metadata.row_groups) {
      const rowStart = rows.length
      const rowEnd = rowStart + Number(num_rows)
      for (const row of await parquetReadObjects({ file, metadata, rowStart, rowEnd })) {
        rows.push(plain(row) as Record<string, unknown>)
        await pause()
      }
    }
  } catch (cause) {
    signal?.throwIfAborted()
    const place = rows.length > 0 ? `${path}: after row ${rows.length}` : path
    const message = `${place}: not a Parquet file that can be read: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_DATA', message, { cause })
  }
  return rows
}

/** @throws OpenELMError DEPENDENCY_NOT_FOUND */
export async function importHyparquet(file: string): Promise<typeof import('hyparquet')> {
  try {
    return await import('hyparquet')
  } catch (cause) {
    const message = `${file}: reading Parquet needs the package hyparquet: npm install hyparquet`
    throw new OpenELMError('DEPENDENCY_NOT_FOUND', message, { cause })
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]))
}
