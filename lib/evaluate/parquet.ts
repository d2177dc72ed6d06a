import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'

/**
 * The rows of a Parquet file. Integers of 64 bits become numbers.
 *
 * @throws OpenELMError DEPENDENCY_NOT_FOUND without `hyparquet`, IO_ERROR, INVALID_DATA.
 */
export async function readParquet(file: string): Promise<Record<string, unknown>[]> {
  const { asyncBufferFromFile, parquetReadObjects } = await importHyparquet(file)
  const buffer = await asyncBufferFromFile(file).catch((cause: unknown) => {
    throw ioError('read', file, cause)
  })
  try {
    const rows = await parquetReadObjects({ file: buffer })
    return rows.map(row => plain(row) as Record<string, unknown>)
  } catch (cause) {
    const message = `${file}: not a Parquet file that can be read: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_DATA', message, { cause })
  }
}

async function importHyparquet(file: string): Promise<typeof import('hyparquet')> {
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
