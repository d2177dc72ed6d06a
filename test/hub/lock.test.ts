import { readdirSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'

/** A file system each call of which may take longer than any other. */
const slow = new Proxy(fs, {
  get(target, name: keyof typeof fs) {
    const call = target[name]
    if (typeof call !== 'function') return call
    return async (...args: never[]) => {
      await setTimeout(100 * Math.random() ** 2)
      return (call as (...args: never[]) => unknown)(...args)
    }
  },
})
const { withLock } = (await t.mockImport('../../lib/hub/lock.js', {
  'node:fs/promises': slow,
})) as typeof import('../../lib/hub/lock.js')

t.test('of many that find the lock of a process that has ended, one at a time works', async t => {
  const directory = t.testdir()
  let most = 0
  const race = async (file: string) => {
    writeFileSync(file, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), id: 'x' }))
    let working = 0
    const work = async () => {
      most = Math.max(most, ++working)
      await setTimeout(200)
      working--
    }
    await Promise.all(Array.from({ length: 4 }, () => withLock(file, undefined, work)))
  }
  await Promise.all(Array.from({ length: 20 }, (_, i) => race(join(directory, `lock-${i}`))))
  t.equal(most, 1)
  t.same(readdirSync(directory), [])
})
