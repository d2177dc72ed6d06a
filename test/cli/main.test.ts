import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { initTiny, root, run, start, succeed, tinyConfig } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'

t.jobs = 4

const tiny = await initTiny(t)
const torchFiles = join(root, 'test', 'torch', 'data')

t.test('help needs no addon and names every command and option', async t => {
  const commands = [
    'generate',
    'chat',
    'inspect',
    'perplexity',
    'evaluate',
    'bench',
    'init',
    'quantize',
    'convert',
    'train',
    'finetune',
    'average',
    'plot',
    'doctor',
    'completion',
  ]
  const noAddon = { OPENELM_ADDON: '/nowhere' }
  const { code, stdout, stderr } = await outcome(start(['--help'], noAddon))
  t.same({ code, stderr }, { code: 0, stderr: '' })
  for (const name of commands) t.match(stdout, new RegExp(`^ {2}${name} `, 'm'))

  for (const name of commands) {
    const { code, stdout } = await outcome(start([name, '--help'], noAddon))
    t.equal(code, 0)
    t.match(stdout, `Usage: openelm ${name}`)
    if (name !== 'doctor') t.match(stdout, /Examples?:\n {2}\$ /)
    for (const line of stdout.split('\n')) t.ok(line.length <= 100, line)
  }
})

t.test('the version is that of the package', async t => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.equal(await succeed(t, '--version'), `${version}\n`)
})

const misuses: [args: string[], message: string | RegExp][] = [
  [['frobnicate'], "unknown command 'frobnicate'"],
  [['inspekt', 'x'], "unknown command 'inspekt' (Did you mean inspect?)"],
  [['generate', '-m', tiny], 'expected a prompt, --prompt-file, or text on standard input'],
  [['generate', '--prompt-file', 'x', 'y'], 'expected either a prompt or --prompt-file'],
  [['generate', '-m', tiny, '--logprobs', '1', 'x'], '--logprobs needs --json'],
  [
    ['generate', '-m', tiny, '--top-k', '3x', 'x'],
    "option '--top-k <n>' argument '3x' is invalid. Expected a number.",
  ],
  [
    ['generate', '-m', tiny, '--temperature', '-1', 'x'],
    'expected --temperature to be a finite number from 0 up, received -1 [INVALID_ARGUMENT]',
  ],
  [
    ['generate', '-m', tiny, '--max-tokens', '', 'x'],
    "option '--max-tokens <n>' argument '' is invalid. Expected a number.",
  ],
  [['generate', '-m', tiny, '--seed', '0x10', 'x'], /'--seed <n>' argument '0x10' is invalid/],
  [
    ['generate', '-m', tiny, '--max-tokens', '99999999999', 'x'],
    /^openelm: expected --max-tokens to be an integer from 1 to 2147483647, received 99999999999 /,
  ],
  [
    ['generate', '-m', tiny, '--stop', 'x', '--stop', '', 'x'],
    'expected --stop to be a string that is not empty, received "" [INVALID_ARGUMENT]',
  ],
  [
    ['generate', '-m', tiny, '--threads', '9999', 'x'],
    'expected --threads to be an integer from 1 to 1024, received 9999 [INVALID_ARGUMENT]',
  ],
  [
    ['generate', '-m', tiny, '--context-length', '99999999', 'x'],
    /^openelm: expected --context-length to be an integer from 1 to 1048576, received 99999999 /,
  ],
  [
    ['generate', '-m', 'no/such/model', '--top-p', '2', 'x'],
    /^openelm: expected --top-p to be a number above 0 and at most 1, received 2 /,
  ],
  [
    ['perplexity', '-m', tiny, '--stride', '99999', tinyConfig],
    /^openelm: expected --stride to be an integer from 1 to \d+, received 99999 /,
  ],
  [['bench', '-m', tiny, tiny], 'the model is named twice'],
  [['help', 'nope'], "unknown command 'nope'"],
  [['average', 'out'], 'expected checkpoints and a directory to write'],
  [['chat', '-m', tiny, '--template', 'none', '--system', 'x'], '--system needs a template'],
  [['init', 'x'], 'expected --preset or --config'],
  [
    ['init', '--preset', '7B', 'x'],
    "option '--preset <size>' argument '7B' is invalid. Allowed choices are 270M, 450M, 1.1B, 3B.",
  ],
  [['init', '--preset', '3B', '--config', 'x', 'y'], /cannot be used with option/],
  [['inspect'], 'expected one of a model, --preset and --config'],
  [['inspect', '--preset', '3B', '--tensors'], '--tensors needs a model'],
  [
    ['bench', tiny, '-p', '4,x'],
    "option '-p, --prompts <n,...>' argument '4,x' is invalid. Expected an integer from 1 up.",
  ],
  [['convert', tiny, 'x'], /^openelm: expected one of <in> and <out> to end in \.gguf/],
  [['convert', 'x.gguf', 'y.gguf'], /^openelm: expected one of <in> and <out> to end in \.gguf/],
  [['convert', 'x.gguf', 'y', '--dtype', 'f32'], '--dtype is for GGUF files'],
  [['convert', 'x.gguf', 'y', '--config', 'z'], '--config is for PyTorch files'],
  [['convert', 'x.pt', 'y.gguf'], /^openelm: make a checkpoint of the PyTorch file/],
  [['convert', 'x.pt', 'y', '--dtype', 'f32'], '--dtype is for GGUF files'],
  [['convert', 'x.pt', 'y', '-m', tiny], '-m is for adapters that become GGUF files'],
  [['convert', 'x.pt', 'y.safetensors', '--config', 'z'], '--config is for checkpoints'],
  [
    ['convert', join(torchFiles, 'training.pt'), 'x'],
    /^openelm: expected --config, because the tensors of .* have the shapes of no released model \[/,
  ],
]

for (const [args, message] of misuses) {
  t.test(`misuse: openelm ${args.join(' ').replace(tiny, 'tiny')}`, async t => {
    const { code, stdout, stderr } = await run(...args)
    t.same({ code, stdout }, { code: 2, stdout: '' })
    t.equal(stderr.split('\n').length, 2, 'one line')
    const line = stderr.trimEnd()
    if (typeof message === 'string') t.equal(line, `openelm: ${message}`)
    else t.match(line, message)
  })
}

const failures: [args: string[], message: string | RegExp][] = [
  [
    ['inspect', join(torchFiles, 'training.pt')],
    /training\.pt is not a directory; openelm convert makes one of .* PyTorch \[MODEL_NOT_FOUND\]$/,
  ],
  [
    ['generate', '-m', 'no/such/model', 'x'],
    /no\/such\/model is not a directory \[MODEL_NOT_FOUND\]$/,
  ],
  [['generate', '-m', tiny, '--prompt-file', 'none.txt'], /cannot read none.txt: .*\[IO_ERROR\]$/],
  [['inspect', root], /cannot read .*config.json.* \[IO_ERROR\]$/],
  [['convert', 'no.gguf', 'x'], /cannot read no.gguf: .*\[IO_ERROR\]$/],
  [['init', '--config', tinyConfig, tiny], /it already holds config.json \[IO_ERROR\]$/],
]

for (const [args, message] of failures) {
  t.test(`failure: openelm ${args[0]} ${args.at(-1)}`, async t => {
    const { code, stdout, stderr } = await run(...args)
    t.same({ code, stdout }, { code: 1, stdout: '' })
    t.equal(stderr.split('\n').length, 2, 'one line')
    t.match(stderr.trimEnd(), message)
  })
}

t.test('no subcommand shows the help and is a misuse', async t => {
  const { code, stdout, stderr } = await run()
  t.same({ code, stdout }, { code: 2, stdout: '' })
  t.match(stderr, 'Usage: openelm')
})

t.test('NODE_DEBUG shows where an error came from', async t => {
  const child = start(['inspect', 'no/such/model'], { NODE_DEBUG: 'openelm' })
  t.match((await outcome(child)).stderr, /\n {4}at .*checkpoint/)
})

t.test('a closed standard error costs nothing but what is said there', async t => {
  const child = start(['generate', '-m', tiny, '--max-tokens', '4', '--verbose', 'Hello'])
  child.stderr.destroy()
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  t.equal(code, 0)
  t.ok(stdout.length > 1)
})
