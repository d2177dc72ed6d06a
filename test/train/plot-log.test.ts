import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { plotLog } from '../../lib/train/index.js'

const dir = t.testdir()
const [log, out] = [join(dir, 'log'), join(dir, 'loss.svg')]

/** The points of the line that is drawn for these lines of a log: their places on the page. */
async function plot(...lines: string[]): Promise<{ steps: number; points: number[][] }> {
  writeFileSync(log, lines.join('\n'))
  const steps = await plotLog(log, out)
  const [, line] = readFileSync(out, 'utf8').match(/<polyline points="([^"]+)"/)!
  return { steps, points: line!.split(' ').map(point => point.split(',').map(Number)) }
}

/** A line as corenet/metrics/stats.py puts it together and corenet/utils/logger.py prints it. */
function coreNetLine(step: number, loss: string): string {
  const logs = '\u001b[34m\u001b[1mLOGS   \u001b[0m'
  const epoch = `Epoch:   0 [${String(step).padStart(8)}/  350000]`
  const rest = `loss: ${loss}, grad_norm: 0.25, LR: [0.0012], Avg. batch load time: 0.004, Elapsed time: 9.50`
  return `2024-04-22 09:00:00 - ${logs} - ${epoch}, ${rest}`
}

t.test('what CoreNet prints, with the z-loss apart and without one', async t => {
  const { steps, points } = await plot(
    '2024-04-22 09:00:00 - \u001b[32mINFO   \u001b[0m - Training epoch 0',
    coreNetLine(1, "{'total_loss': 11.5, 'ce_loss': 10.0, 'z_loss': 1.5}"),
    coreNetLine(501, "{'total_loss': 7.25, 'ce_loss': 7.0, 'z_loss': 0.25}"),
    coreNetLine(1001, '4.0'),
    '2024-04-22 09:00:00 - \u001b[32mINFO   \u001b[0m - Validation epoch 0',
    coreNetLine(1, '9.0'),
    '2024-04-22 09:00:00 - LOGS - *** Validation summary for epoch 0',
    coreNetLine(1501, "{'total_loss': 3.0}"),
    coreNetLine(2001, 'nan'),
  )
  t.equal(steps, 4)
  const [width, height] = [700, 300]
  t.same(
    points,
    [
      [1, 10],
      [501, 7],
      [1001, 4],
      [1501, 3],
    ].map(([step, loss]) => {
      const x = 50 + (width * step!) / 1501
      return [Number(x.toFixed(1)), Number((50 + (height * (10 - loss!)) / 7).toFixed(1))]
    }),
  )
})

t.test('a log of this package, where a resumed run takes steps again', async t => {
  const line = (step: number, loss: number) => JSON.stringify({ step, loss })
  const { steps } = await plot(line(1, 9), line(2, 8), line(3, 7), line(2, 6), '{"step": 3, "lo')
  t.equal(steps, 2)
})

t.test('what is no log', async t => {
  writeFileSync(log, `Epoch: ${'x'.repeat(10_000)}\n{}\n[1]\nnull\n`)
  const picture = join(dir, 'none.svg')
  await t.rejects(plotLog(log, picture), { code: 'INVALID_DATA', message: /no line with the loss/ })
  await t.rejects(plotLog(join(dir, 'none'), picture), { code: 'IO_ERROR' })
  await t.rejects(plotLog(5 as never, picture), { code: 'INVALID_ARGUMENT' })
  t.notOk(existsSync(picture))
})
