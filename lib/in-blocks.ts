const blockBytes = 16 * 2 ** 20

/**
 * The same bytes in blocks of 16 MiB, so that each begins at a multiple of that in a file. Linux keeps
 * what one call writes in huge pages as far as it fills them, and whoever maps the file gets them so. A
 * block is used again once the next is asked for.
 */
export async function* inBlocks(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const block = Buffer.allocUnsafe(blockBytes)
  let used = 0
  for await (const chunk of chunks) {
    for (let begin = 0; begin < chunk.length; ) {
      const part = chunk.subarray(begin, begin + blockBytes - used)
      block.set(part, used)
      begin += part.length
      used += part.length
      if (used < blockBytes) continue
      yield block
      used = 0
    }
  }
  if (used > 0) yield block.subarray(0, used)
}
