import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { OpenELM } from '../lib/model.js'
import { addonPaths } from '../lib/native.js'
import { dequantizeCheckpoint, relativeError, writeTestCheckpoint } from './helpers/checkpoints.js'
import { testConfigs } from './helpers/configs.js'
import { decodeFloats, encodeFloats, readSafetensors } from './helpers/safetensors.js'

t.jobs = 4

const root = join(import.meta.dirname, '..')
const tinyConfig = join(root, 'examples', 'tiny.json')
const scratch = t.testdir({ 'package.json': readFileSync(join(root, 'package.json'), 'utf8') })
const tiny = join(scratch, 'tiny')
symlinkSync(join(root, 'models'), join(scratch, 'models'), 'junction')

// Compiled once, as users have it: each of the processes below would else compile it anew.
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const outDir = join(scratch, 'dist')
const flags = ['-p', join(root, 'tsconfig.build.json'), '--outDir', outDir, '--noCheck']
execFileSync(process.execPath, [tsc, ...flags])
const main = join(outDir, 'cli', 'main.js')
const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync) ?? 'none'

await succeed(t, 'init', '--config', tinyConfig, tiny)

function start(args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawn(process.execPath, [main, ...args], {
    env: { ...process.env, OPENELM_ADDON: addon, ...env },
  })
}

async function outcome(child: ReturnType<typeof start>, input = '') {
  child.stdin.end(input)
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, stdout, stderr }
}

function run(...args: string[]) {
  return outcome(start(args))
}

/** Runs a command that must have nothing to complain about. */
async function succeed(t: Test, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args)
  t.same({ code, stderr }, { code: 0, stderr: '' }, args.join(' '))
  return stdout
}

async function generateJson(t: Test, model: string, ...args: string[]) {
  return JSON.parse(await succeed(t, 'generate', '-m', model, '--json', ...args))
}

t.test('help needs no addon and names every command and option', async t => {
  const commands = ['generate', 'chat', 'inspect', 'bench', 'init', 'quantize', 'convert', 'doctor']
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
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  t.equal(await succeed(t, '--version'), `${version}\n`)
})

const misuses: [args: string[], message: string | RegExp][] = [
  [['frobnicate'], "unknown command 'frobnicate'"],
  [['inspekt', 'x'], "unknown command 'inspekt' (Did you mean inspect?)"],
  [['generate', '-m', tiny], 'expected either a prompt or --prompt-file'],
  [['generate', '-m', tiny, '--logprobs', '1', 'x'], '--logprobs needs --json'],
  [
    ['generate', '-m', tiny, '--top-k', '3x', 'x'],
    "option '--top-k <n>' argument '3x' is invalid. Expected an integer from 0 up.",
  ],
  [
    ['generate', '-m', tiny, '--temperature', '-1', 'x'],
    "option '--temperature <t>' argument '-1' is invalid. Expected a finite number from 0 up.",
  ],
  [
    ['generate', '-m', tiny, '--max-tokens', '', 'x'],
    "option '--max-tokens <n>' argument '' is invalid. Expected an integer from 1 up.",
  ],
  [['generate', '-m', tiny, '--seed', '0x10', 'x'], /'--seed <n>' argument '0x10' is invalid/],
  [['generate', '-m', tiny, '--threads', '9999', 'x'], /received 9999 \[INVALID_ARGUMENT\]$/],
  [['chat', '-m', tiny, '--template', 'none', '--system', 'x'], '--system needs a template'],
  [['init', 'x'], 'expected --preset or --config'],
  [
    ['init', '--preset', '7B', 'x'],
    "option '--preset <size>' argument '7B' is invalid. Allowed choices are 270M, 450M, 1.1B, 3B.",
  ],
  [['init', '--preset', '3B', '--config', 'x', 'y'], /cannot be used with option/],
  [['inspect'], 'expected one of a directory, --preset and --config'],
  [['inspect', '--preset', '3B', '--tensors'], '--tensors needs a directory'],
  [
    ['bench', tiny, '-p', '4,x'],
    "option '-p, --prompts <n,...>' argument '4,x' is invalid. Expected an integer from 1 up.",
  ],
  [['convert', tiny, 'x'], 'expected one of <in> and <out> to end in .gguf'],
  [['convert', 'x.gguf', 'y.gguf'], 'expected one of <in> and <out> to end in .gguf'],
  [['convert', 'x.gguf', 'y', '--dtype', 'f32'], '--dtype is for GGUF files'],
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
    ['generate', '-m', 'no/such/model', 'x'],
    /no\/such\/model is not a directory \[MODEL_NOT_FOUND\]$/,
  ],
  [['generate', '-m', tiny, '--prompt-file', 'none.txt'], /cannot read none.txt: .*\[IO_ERROR\]$/],
  [['inspect', join(scratch)], /cannot read .*config.json.* \[IO_ERROR\]$/],
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

t.test('inspect counts what the released models have', async t => {
  const published = {
    '270M': 271_527_168,
    '450M': 457_179_136,
    '1.1B': 1_079_891_456,
    '3B': 3_036_647_424,
  }
  for (const [preset, parameters] of Object.entries(published)) {
    t.equal(
      JSON.parse(await succeed(t, 'inspect', '--preset', preset, '--json')).parameters,
      parameters,
    )
  }
  const smallest = JSON.parse(await succeed(t, 'inspect', '--preset', '270M', '--json'))
  t.equal(smallest.layers.length, 16)
  t.match(smallest.layers[0], { numQueryHeads: 12, numKvHeads: 3, ffnDim: 768 })
  t.match(smallest.layers[15], { numQueryHeads: 20, numKvHeads: 5, ffnDim: 5120 })
  t.equal(smallest.memory.weights.bfloat16, 543_054_336)
  t.equal(smallest.memory.kvCache.float16, 31.5 * 2 ** 20)

  const table = await succeed(t, 'inspect', '--preset', '270M')
  t.match(table, /^parameters +271,527,168$/m)
  t.match(table, /^ +0 +12 +3 +768 +5,409,408$/m)
  t.match(table, /^weights, bfloat16 +517.9 MiB$/m)
})

t.test('inspect lists the tensors of a checkpoint', async t => {
  const facts = JSON.parse(await succeed(t, 'inspect', tiny, '--tensors', '--json'))
  t.match(facts.checkpoint, { directory: tiny, dtype: 'bfloat16', unexpected: [] })
  const names = facts.checkpoint.tensors.map((tensor: { name: string }) => tensor.name)
  t.same(names, [...readSafetensors(join(tiny, 'model.safetensors')).keys()])

  const table = await succeed(t, 'inspect', tiny, '--tensors')
  t.match(table, /^transformer.token_embeddings.weight +BF16 +32000 x 128 +model.safetensors$/m)
  t.notMatch(await succeed(t, 'inspect', tiny), 'token_embeddings')
})

t.test('init draws by the rule of CoreNet', async t => {
  const dir = join(t.testdir(), 'new')
  await succeed(t, 'init', '--config', tinyConfig, '--dtype', 'float32', dir)
  const { num_transformer_layers: numLayers, model_dim: modelDim } = JSON.parse(
    readFileSync(join(dir, 'config.json'), 'utf8'),
  )
  for (const [name, { shape, bytes, dtype }] of readSafetensors(join(dir, 'model.safetensors'))) {
    const values = decodeFloats(bytes, dtype)
    if (shape.length === 1) {
      t.ok(
        values.every(value => value === 1),
        `${name} is 1`,
      )
      continue
    }
    const isResidual = name.includes('out_proj') || name.includes('proj_2')
    const expected = isResidual ? (2 * numLayers * modelDim) ** -0.5 : shape[1]! ** -0.5
    const std = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length)
    // Five times the standard error of the estimate.
    t.ok(Math.abs(std / expected - 1) < 5 / Math.sqrt(2 * values.length), `${name}: ${std}`)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    t.ok(Math.abs(mean) < (5 * expected) / Math.sqrt(values.length), `${name}: mean ${mean}`)
  }
})

t.test('init draws the same for the same seed, and in every dtype', async t => {
  const weights = async (name: string, ...args: string[]) => {
    const dir = join(t.testdirName, name)
    await succeed(t, 'init', '--config', tinyConfig, ...args, dir)
    return readFileSync(join(dir, 'model.safetensors'))
  }
  t.testdir()
  const first = readFileSync(join(tiny, 'model.safetensors'))
  t.ok(first.equals(await weights('zero', '--seed', '0')), 'the default seed is 0')
  t.notOk(first.equals(await weights('one', '--seed', '1')))

  await weights('single', '--dtype', 'float32')
  const rounded = readSafetensors(join(tiny, 'model.safetensors'))
  for (const [name, tensor] of readSafetensors(
    join(t.testdirName, 'single', 'model.safetensors'),
  )) {
    const values = decodeFloats(tensor.bytes, 'F32')
    t.equal(Buffer.compare(rounded.get(name)!.bytes, encodeFloats(values, 'BF16')), 0, name)
  }
})

for (const dtype of ['q8', 'q4'] as const) {
  t.test(`quantize to ${dtype} keeps the matrices closely and the norms exactly`, async t => {
    const dir = t.testdir({ in: { 'tokenizer.json': '{}' } })
    const [input, output] = [join(dir, 'in'), join(dir, 'out')]
    const config = testConfigs['odder-widths']
    const { weights } = writeTestCheckpoint(input, config, { dtype: 'F16', seed: 3 })
    await succeed(t, 'quantize', input, output, '--dtype', dtype)

    t.same(readdirSync(output).sort(), ['config.json', 'model.safetensors', 'tokenizer.json'])
    const quantized = dequantizeCheckpoint(join(output, 'model.safetensors'))
    t.same([...quantized.keys()].sort(), [...weights.keys()].sort())
    for (const [name, values] of quantized) {
      const bound = name.endsWith('norm.weight') ? 0 : dtype === 'q8' ? 0.01 : 0.12
      const error = relativeError(values, weights.get(name)!)
      t.ok(error <= bound, `${name}: ${error}`)
    }

    const again = await run('quantize', output, join(dir, 'again'), '--dtype', dtype)
    t.equal(again.code, 2)
    t.match(again.stderr, `is quantised already, as ${dtype} [INVALID_ARGUMENT]`)
  })
}

t.test('a directory that quantize was killed over is complete or is no model', async t => {
  const dir = t.testdir({ in: {} })
  const input = join(dir, 'in')
  writeTestCheckpoint(input, testConfigs['odder-widths'], { dtype: 'F16', seed: 3 })
  const tokenizer = Buffer.alloc(30_000_000, ' ')
  writeFileSync(join(input, 'tokenizer.json'), tokenizer)
  for (let kill = 0; kill < 8; kill++) {
    const output = join(dir, `out-${kill}`)
    const child = start(['quantize', input, output, '--dtype', 'q8'])
    const closed = once(child, 'close')
    const names = () => (existsSync(output) ? readdirSync(output) : [])
    const goal = ['model.safetensors', 'config.json'][kill % 2]!
    while (!names().includes(goal) && child.exitCode === null) await setTimeout(1)
    await setTimeout(kill >> 1)
    child.kill('SIGKILL')
    await closed
    if (!names().includes('config.json')) continue
    t.equal(statSync(join(output, 'tokenizer.json')).size, tokenizer.length, `kill ${kill}`)
  }
})

t.test(
  'a tokenizer that cannot be copied ends quantize and average with nothing written',
  async t => {
    const dir = t.testdir({ in: { 'tokenizer.json': {} } })
    const [input, output] = [join(dir, 'in'), join(dir, 'out')]
    writeTestCheckpoint(input, testConfigs['odder-widths'], { dtype: 'F16', seed: 3 })
    for (const args of [
      ['quantize', input, output, '--dtype', 'q8'],
      ['average', output, input],
    ]) {
      const { code, stderr } = await run(...args)
      t.equal(code, 1)
      t.match(stderr, /cannot read .*tokenizer\.json.* \[IO_ERROR\]/)
      t.notOk(existsSync(output))
    }
  },
)

t.test('bench measures a model', async t => {
  const short = ['-p', '4,8', '-n', '3', '-r', '2', '--threads', '1']
  const table = await succeed(t, 'bench', tiny, ...short, '-d', '5')
  for (const name of ['pp4', 'pp8', 'tg3', 'tg32@d5']) {
    t.match(table, new RegExp(`^${name} +[\\d.]+ +[\\d.]+ - [\\d.]+ +\\d+%$`, 'm'))
  }
  t.match(table, /^peak memory +[\d.]+ MiB$/m)
  const { machine, tests } = JSON.parse(await succeed(t, 'bench', tiny, ...short, '--json'))
  t.same(Object.keys(machine), ['readBandwidth', 'floatPeak'])
  t.equal(tests.length, 3)
})

t.test('convert makes a GGUF file and a checkpoint of it again', async t => {
  const dir = t.testdir()
  const [gguf, output] = [join(dir, 'tiny.gguf'), join(dir, 'out')]
  await succeed(t, 'convert', tiny, gguf, '--dtype', 'f32')
  await succeed(t, 'convert', gguf, output)
  t.same(readdirSync(output).sort(), ['config.json', 'model.safetensors'])
  const tensors = (model: string) => readSafetensors(join(model, 'model.safetensors')).size
  t.equal(tensors(output), tensors(tiny))
})

t.test('quantize takes the padded vocabulary and the names of CoreNet', async t => {
  const dir = t.testdir()
  const padded = { ...testConfigs.golden, vocab_size: 128 }
  const input = join(dir, 'in')
  const options = { dtype: 'BF16', seed: 4, coreNetNames: true } as const
  const { weights } = writeTestCheckpoint(input, padded, options)
  writeFileSync(join(input, 'config.json'), JSON.stringify(testConfigs.golden))
  await succeed(t, 'quantize', input, join(dir, 'out'), '--dtype', 'q8')

  const quantized = dequantizeCheckpoint(join(dir, 'out', 'model.safetensors'))
  const name = 'transformer.token_embeddings.weight'
  const rows = weights.get(name)!.subarray(0, 97 * padded.model_dim)
  t.ok(relativeError(quantized.get(name)!, rows) < 0.01)
})

t.test('generate runs a quantised checkpoint', async t => {
  const dir = join(t.testdir(), 'q8')
  await succeed(t, 'quantize', tiny, dir, '--dtype', 'q8')
  const stored = await generateJson(t, dir, '--max-tokens', '8', 'Hello')
  const loaded = await generateJson(t, tiny, '--dtype', 'q8', '--max-tokens', '8', 'Hello')
  t.same(stored.tokens, loaded.tokens, 'as quantising while loading does')
})

t.test('generate prints the text and nothing else', async t => {
  const stdout = await succeed(t, 'generate', '-m', tiny, '--max-tokens', '12', 'Hello')
  const result = await generateJson(t, tiny, '--max-tokens', '12', 'Hello')
  t.equal(stdout, `${result.text}\n`)
  t.match(result, {
    tokens: Array(12).fill(Number),
    finishReason: 'length',
    usage: { promptTokens: 2, completionTokens: 12 },
    timings: { prefillMs: Number, decodeMs: Number },
  })
  t.notOk('logprobs' in result)
})

t.test('generate tells speeds and log-probabilities when asked', async t => {
  const args = ['generate', '-m', tiny, '--max-tokens', '3', 'Hello', '--verbose', '--json']
  const { code, stdout, stderr } = await run(...args, '--logprobs', '2')
  t.equal(code, 0)
  t.match(stderr, /^openelm: prefill: 2 tokens, .* tokens\/s; decode: 3 tokens, .*\n$/)
  const { logprobs, tokens } = JSON.parse(stdout)
  t.equal(logprobs.length, 3)
  for (const [i, { token, logprob, topLogprobs }] of logprobs.entries()) {
    t.equal(token, tokens[i])
    t.same(topLogprobs[0], { token, logprob }, 'greedy takes the likeliest')
    t.equal(topLogprobs.length, 2)
  }
})

t.test('generate repeats itself for a seed', async t => {
  const sample = async (seed: string) => {
    const args = ['--temperature', '1', '--top-k', '50', '--seed', seed, '--max-tokens', '8', 'Hi']
    return (await generateJson(t, tiny, ...args)).tokens
  }
  t.same(await sample('7'), await sample('7'))
  t.notSame(await sample('7'), await sample('8'))
})

t.test('generate ends before a stop text', async t => {
  const { text } = await generateJson(t, tiny, '--max-tokens', '12', 'Hello')
  const stop = text.slice(10, 14)
  const args = ['--max-tokens', '12', '--stop', 'never comes', '--stop', stop, 'Hello']
  const result = await generateJson(t, tiny, ...args)
  t.equal(result.text, text.slice(0, text.indexOf(stop)))
  t.equal(result.finishReason, 'stop')
})

t.test('generate reads its prompt from anywhere', async t => {
  const file = join(t.testdir({ 'prompt.txt': 'Two\nlines\n' }), 'prompt.txt')
  const args = ['generate', '-m', tiny, '--max-tokens', '8']
  const expected = await succeed(t, ...args, 'Two\nlines')
  t.equal(await succeed(t, ...args, '--prompt-file', file), expected)
  t.same(await outcome(start([...args, '-']), 'Two\nlines\n'), {
    code: 0,
    stdout: expected,
    stderr: '',
  })
})

const endless = ['generate', '-m', tiny, 'Hello', '--temperature', '1', '--ignore-eos']
endless.push('--max-tokens', '500000', '--context-length', '500000')

t.test('Ctrl-C ends a generation cleanly', async t => {
  const child = start(endless)
  child.stdout.once('readable', () => child.kill('SIGINT'))
  const { code, stdout, stderr } = await outcome(child)
  t.same({ code, stderr }, { code: 130, stderr: '' })
  t.ok(stdout.length > 1, 'what came before stays')
  t.ok(stdout.endsWith('\n'))
})

t.test('a reader that has seen enough ends a generation quietly', async t => {
  const child = start(endless)
  child.stdout.once('readable', () => child.stdout.destroy())
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')])
  t.same({ code: child.exitCode, stderr }, { code: 0, stderr: '' })
})

t.test('doctor tells what there is', async t => {
  const report = await succeed(t, 'doctor')
  t.match(report, /^platform +\S+ /m)
  t.match(report, /^cpu +available: /m)
  t.match(report, /^metal +(available|missing): /m)
  t.match(report, /^addon +.*openelm.*\.node$/m)

  const facts = JSON.parse(await succeed(t, 'doctor', '--json'))
  t.equal(facts.node, process.version)
  t.equal(facts.addon.backends.length, 3)
})

t.test('doctor without an addon tells why and fails', async t => {
  const { code, stdout } = await outcome(start(['doctor'], { OPENELM_ADDON: '/nowhere/x.node' }))
  t.equal(code, 1)
  t.match(stdout, /^platform /m)
  t.match(stdout, '/nowhere/x.node: no such file')
})

t.test('chat over a pipe answers line by line, each in the light of those before', async t => {
  const args = ['chat', '-m', tiny, '--max-tokens', '10', '--system', 'Be brief.']
  const input = 'Hello\n\nWhy </s>?\n/exit\nignored\n'
  const { code, stdout, stderr } = await outcome(start(args), input)
  t.same({ code, stderr }, { code: 0, stderr: '' })

  await using model = await OpenELM.load(tiny)
  const { tokenizer } = model
  const [bos, eos] = [1, 2]
  const encode = (text: string) => tokenizer.encode(text, { addBos: false })
  const prompt = [bos, ...encode('<|system|>\nBe brief.'), eos, ...encode('\n<|user|>\nHello')]
  prompt.push(eos, ...encode('\n<|assistant|>\n'))
  const first = await model.generate(prompt, { maxTokens: 10 })
  prompt.push(...first.tokens, eos, ...encode('\n<|user|>\nWhy </s>?'))
  prompt.push(eos, ...encode('\n<|assistant|>\n'))
  const second = await model.generate(prompt, { maxTokens: 10 })
  t.equal(stdout, `${first.text}\n${second.text}\n`)
})

t.test('chat forgets the oldest messages when the context is full', async t => {
  const args = ['chat', '-m', tiny, '--max-tokens', '20', '--context-length', '80']
  const { code, stdout, stderr } = await outcome(
    start(args),
    `Hello\nHello\n${'long '.repeat(100)}`,
  )
  t.equal(code, 0)
  const [first, second] = stdout.split('\n')
  t.equal(second, first)
  const notices = stderr.trimEnd().split('\n')
  t.equal(notices.length, 2)
  t.equal(notices[0], 'openelm: the context was full: the oldest messages are forgotten')
  t.match(notices[1], /^openelm: .*80/, 'a message that fits nowhere does not end the chat')
})

/** Runs the command line in a terminal. */
function startInTerminal(...args: string[]) {
  const line = [process.execPath, main, ...args].map(word => `'${word}'`).join(' ')
  return spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...process.env, OPENELM_ADDON: addon },
  })
}
const needsScript = process.platform !== 'linux' && 'it needs the command script of Linux'

t.test('a bar is gone before the result comes', { skip: needsScript }, async t => {
  const child = startInTerminal('perplexity', tiny, join(import.meta.dirname, 'cli.test.ts'))
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', data => {
    screen += data
  })
  const [code] = await once(child, 'close')
  t.equal(code, 0)
  t.match(screen, /Reading .*100%/)
  t.match(screen, /\nbytes +[\d,]+\r?\n$/)
  t.notOk(screen.slice(screen.lastIndexOf('perplexity')).includes('\x1b'))
})

t.test('a dumb terminal gets no bar', { skip: needsScript }, async t => {
  const line = `'${process.execPath}' '${main}' perplexity '${tiny}' '${tinyConfig}'`
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...process.env, OPENELM_ADDON: addon, TERM: 'dumb' },
  })
  const { code, stdout } = await outcome(child)
  t.equal(code, 0)
  t.match(stdout, /^perplexity/)
  t.notOk(stdout.includes('\x1b'))
})

t.test('a closed standard error costs nothing but what is said there', async t => {
  const child = start(['generate', '-m', tiny, '--max-tokens', '4', '--verbose', 'Hello'])
  child.stderr.destroy()
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  t.equal(code, 0)
  t.ok(stdout.length > 1)
})

t.test('a generate that fails prints nothing', async t => {
  const dir = t.testdir({
    latin: Buffer.from([0x63, 0x61, 0x66, 0xe9]),
    marked: '\ufeffHello',
    plain: 'Hello',
  })
  const overflow = await run('generate', '-m', tiny, '--context-length', '1', 'Hello')
  t.match(overflow, { code: 1, stdout: '', stderr: /CONTEXT_OVERFLOW/ })
  const latin = await run('generate', '-m', tiny, '--prompt-file', join(dir, 'latin'))
  t.match(latin, { code: 1, stdout: '', stderr: /latin: expected UTF-8 text \[INVALID_DATA\]/ })
  const piped = await outcome(start(['generate', '-m', tiny, '-']), '\ufeffHello')
  t.equal(piped.code, 0)
  const tokens = (name: string) =>
    generateJson(t, tiny, '--max-tokens', '4', '--prompt-file', join(dir, name))
  t.same((await tokens('marked')).tokens, (await tokens('plain')).tokens, 'without its mark')
})

t.test('--seed takes every seed that it names', async t => {
  const args = ['--temperature', '1', '--max-tokens', '4', 'Hello', '--seed']
  await generateJson(t, tiny, ...args, '18446744073709551615')
  const { code, stderr } = await run('generate', '-m', tiny, ...args, '18446744073709551616')
  t.equal(code, 2)
  t.match(stderr, /Expected an integer from 0 to 2\^64 - 1\./)
})

t.test('chat says that a line of 200,000 words is too long', async t => {
  const { code, stderr } = await outcome(
    start(['chat', '-m', tiny]),
    `${'word '.repeat(200_000)}\n`,
  )
  t.equal(code, 0, stderr)
  t.match(stderr, /^openelm: .*do not fit|context/)
})

t.test('chat in a terminal', { skip: needsScript }, async t => {
  const sizes = ['--max-tokens', '500000', '--context-length', '500000']
  const child = startInTerminal('chat', '-m', tiny, ...sizes, '--temperature', '1')
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', data => {
    screen += data
  })
  const shows = async (pattern: RegExp) => {
    while (!pattern.test(screen)) await once(child.stdout, 'data')
    screen = ''
  }
  await shows(/\[0J> /)
  child.stdin.write('Hello\r')
  await shows(/Hello[\r\n]+.{20}/s)
  child.stdin.write('\x03')
  await shows(/\[0J> /)
  child.stdin.write('\x03')
  const [code] = await once(child, 'close')
  t.equal(code, 130)
})
