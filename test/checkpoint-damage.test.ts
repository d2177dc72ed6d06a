import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openCheckpoint, writeCheckpoint } from '../lib/checkpoint.js'
import { contentOf, tiny } from './helpers/tiny-checkpoint.js'

t.test('damage is reported, never worse', async t => {
  const dir = t.testdir()
  await writeCheckpoint(dir, tiny, 'q4', header => [contentOf(header)])
  const outcome = () =>
    openCheckpoint(dir).then(
      () => 'opened',
      error => {
        const isTyped = ['INVALID_CONFIG', 'INVALID_CHECKPOINT'].includes(error.code)
        return isTyped && error.message.startsWith(dir) ? 'refused' : error
      },
    )

  await t.test('any byte of a header or config.json changed', async t => {
    const random = randomNumbers(1)
    let opened = 0
    let refused = 0
    for (const name of ['model.safetensors', 'config.json']) {
      const intact = readFileSync(join(dir, name))
      const isWeights = name === 'model.safetensors'
      const length = isWeights ? 8 + Number(intact.readBigUInt64LE()) : intact.length
      const fd = openSync(join(dir, name), 'r+')
      for (let i = 0; i < 1000; i++) {
        const position = random(length)
        writeSync(fd, Uint8Array.of(random(256)), 0, 1, position)
        const result = await outcome()
        if (result === 'opened') opened++
        else if (result === 'refused') refused++
        else t.fail(`byte ${position} of ${name}`, { result })
        writeSync(fd, intact, position, 1, position)
      }
      closeSync(fd)
    }
    t.ok(refused > 1000, 'most changes are noticed')
    t.ok(opened > 10, 'some change nothing that matters')
    t.equal(await outcome(), 'opened')
  })

  await t.test('cut short anywhere', async t => {
    for (const name of ['config.json', 'model.safetensors']) {
      const intact = readFileSync(join(dir, name))
      for (let percent = 99; percent >= 0; percent--) {
        truncateSync(join(dir, name), Math.floor((intact.length * percent) / 100))
        t.equal(await outcome(), 'refused', `${name} at ${percent}%`)
      }
      writeFileSync(join(dir, name), intact)
    }
  })
})

function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
