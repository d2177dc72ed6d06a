import { existsSync } from 'node:fs'
import t from 'tap'
import { machineInfo, measureMachine } from '../lib/machine.js'

t.test('what the machine computes with', async t => {
  const { addon, kernels, features, physicalCores, threads } = machineInfo()
  t.ok(existsSync(addon))
  t.ok(['scalar', 'avx2', 'avxvnni', 'avx512', 'neon'].includes(kernels))
  t.ok(features.every(feature => typeof feature === 'string'))
  t.ok(threads >= 1 && threads <= physicalCores)
})

t.test('the speed of the machine', async t => {
  const { readBandwidth, floatPeak } = await measureMachine(2)
  t.ok(readBandwidth > 1e6 && Number.isFinite(readBandwidth))
  t.ok(floatPeak > 1e6 && Number.isFinite(floatPeak))
  for (const threads of [0, 1.5, 1025, '2']) {
    await t.rejects(measureMachine(threads as number), { code: 'INVALID_ARGUMENT' })
  }
})
