import Table from 'cli-table3'

const noRules = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
}

/** Rows in columns, the first `leftColumns` of them aligned to the left, the others to the right. */
export function formatTable(rows: string[][], head: string[] = [], leftColumns = 1): string {
  const numColumns = rows[0]?.length ?? 0
  const table = new Table({
    head,
    chars: { ...noRules, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: Array.from({ length: numColumns }, (_, i) => (i < leftColumns ? 'left' : 'right')),
  })
  table.push(...rows)
  return table.toString().replace(/ +$/gm, '')
}
