import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { addon, main, root } from '../helpers/cli.js'

/** The memory of another process is read in /proc. */
const skip = process.platform !== 'linux' && 'it needs Linux'

t.test('a server withstands what hostile clients do', { skip }, async t => {
  const script = join(root, 'test', 'clients', 'attack.mjs')
  const env = { ...process.env, OPENELM_ADDON: addon }
  const args = [script, '500', main]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env })
  for (const line of stdout.trim().split('\n')) t.comment(line)
  t.equal(stderr, '')
  t.match(stdout, /by the status of their answers: \{ '200': \d+, '400': \d+ \}\n/)
})
