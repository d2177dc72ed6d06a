import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cpuQuota, defaultThreads } from '../lib/cpu-quota.js'
import { loadNative } from '../lib/native.js'

function quotaOf(t: Test, list: string, root: Parameters<Test['testdir']>[0]): number {
  const dir = t.testdir({ list, root: root ?? {} })
  return cpuQuota(join(dir, 'list'), join(dir, 'root'))
}

t.test('version 2: the lowest quota of a group and of those above it', async t => {
  const group = (quota: string) => ({ 'cpu.max': `${quota}\n` })
  const nested = '0::/a/b\n'
  t.equal(quotaOf(t, '0::/\n', group('100000 100000')), 1, 'inside a container')
  t.equal(quotaOf(t, '0::/\n', group('150000 100000')), 1.5)
  t.equal(quotaOf(t, '0::/\n', group('max 100000')), Infinity)
  t.equal(quotaOf(t, nested, { a: { b: group('400000 100000') } }), 4)
  t.equal(quotaOf(t, nested, { a: { ...group('200000 100000'), b: group('max 100000') } }), 2)
  t.equal(quotaOf(t, '0::/../x\n', { x: group('300000 100000') }), 3, 'beside its namespace')
})

t.test('version 1: quota by period', async t => {
  const group = (quota: number, period = 100_000) => ({
    'cpu.cfs_quota_us': `${quota}\n`,
    'cpu.cfs_period_us': `${period}\n`,
  })
  const list = '12:memory:/docker/id\n4:cpu,cpuacct:/docker/id\n1:name=systemd:/\n'
  t.equal(quotaOf(t, list, { 'cpu,cpuacct': group(250_000) }), 2.5, 'inside a container')
  t.equal(quotaOf(t, list, { cpu: { docker: { id: group(50_000, 25_000) } } }), 2)
  t.equal(quotaOf(t, list, { 'cpu,cpuacct': group(-1) }), Infinity)
  t.equal(quotaOf(t, '4:cpuset:/\n', { cpuset: group(100_000) }), Infinity, 'of another kind')
})

t.test('no quota', async t => {
  t.equal(quotaOf(t, '', {}), Infinity)
  t.equal(quotaOf(t, '0::/\n', { 'cpu.max': 'nonsense' }), Infinity)
  t.equal(cpuQuota('/nowhere', '/nowhere'), Infinity)
})

t.test('threads by default', async t => {
  const threads = defaultThreads()
  t.ok(threads >= 1 && threads <= loadNative().cpuInfo().physicalCores)
})
