const counts = new Intl.NumberFormat('en-US')

export function formatCount(count: number): string {
  return counts.format(count)
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const exponent = Math.min(Math.floor(Math.log2(bytes) / 10), 4)
  return `${(bytes / 1024 ** exponent).toFixed(1)} ${'KMGT'[exponent - 1]}iB`
}
