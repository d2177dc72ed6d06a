/** Spreads the bits of a 32-bit integer: the finalizer of MurmurHash3 (Appleby, 2011). */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** The numbers below `length` in an order that `seed` and `stream` name, the same on every machine. */
export function shuffled(length: number, seed: number, stream: number): Uint32Array {
  const key = mix(mix(seed) + stream)
  const order = Uint32Array.from({ length }, (_, i) => i)
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor((mix(key + i) / 2 ** 32) * (i + 1))
    const swapped = order[i]!
    order[i] = order[j]!
    order[j] = swapped
  }
  return order
}

/** A number from 0 to below 1 that `seed` and `index` name, the same on every machine. */
export function fractionOf(index: number, seed: number): number {
  return mix(mix(seed) + index) / 2 ** 32
}
