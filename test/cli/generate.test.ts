import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { OpenELM } from '../../lib/model.js'
import { generateJson, initTiny, pipe, run, start, succeed } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { tinyTokenizer } from '../helpers/training.js'

t.jobs = 4

const tiny = await initTiny(t)

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
  t.match(
    stderr,
    /^openelm: prefill: 2 tokens, .* tokens\/s, and 1 token; decode: 2 tokens, .* tokens\/s; ended by length\n$/,
  )
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

t.test('generate answers with JSON that fits a schema, given as text or in a file', async t => {
  const schema =
    '{ "type": "object", "properties": { "a": { "enum": [1, 2] } }, "required": ["a"] }'
  const file = join(t.testdir({ 'schema.json': schema, 'bad.json': '{ "type" ' }), 'schema.json')
  const args = ['generate', '-m', tiny, '--max-tokens', '40', 'Hello', '--json-schema']
  const stdout = await succeed(t, ...args, schema)
  t.ok([1, 2].includes(JSON.parse(stdout).a), stdout)
  t.equal(await succeed(t, ...args, file), stdout)
  for (const [given, message] of [
    [join(file, '..', 'bad.json'), /--json-schema is not JSON/],
    [join(file, '..', 'none.json'), /cannot read/],
    ['{"not": {}}', /not at #/],
    ['{"type": "text"}', /the name of a type, received "text"/],
  ] as const) {
    const { code, stderr } = await run(...args, given)
    t.not(code, 0)
    t.match(stderr, message)
  }
})

t.test('generate reads its prompt from anywhere', async t => {
  const file = join(t.testdir({ 'prompt.txt': 'Two\nlines\n' }), 'prompt.txt')
  const args = ['generate', '-m', tiny, '--max-tokens', '8']
  const expected = await succeed(t, ...args, 'Two\nlines')
  t.equal(await succeed(t, ...args, '--prompt-file', file), expected)
  for (const end of [[], ['-']]) {
    const piped = await pipe('Two\nlines\n', ...args, ...end)
    t.same(piped, { code: 0, stdout: expected, stderr: '' })
  }
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

t.test('a tokenizer can be named', async t => {
  const dir = t.testdir({ 'tokenizer.json': JSON.stringify(tinyTokenizer) })
  const args = ['generate', '-m', tiny, '--json', '--max-tokens', '1', 'Hello']
  const { usage } = JSON.parse(
    await succeed(t, ...args, '--tokenizer', join(dir, 'tokenizer.json')),
  )
  await using model = await OpenELM.load(tiny, { tokenizer: tinyTokenizer })
  t.equal(usage.promptTokens, model.tokenizer.encode('Hello').length)
  t.not(usage.promptTokens, (await generateJson(t, tiny, '--max-tokens', '1', 'Hello')).usage)
})

t.test('generate checks guesses, which change nothing', async t => {
  const args = ['--max-tokens', '24', '--temperature', '0.5', '--seed', '3', 'Hello']
  const { usage, tokens } = await generateJson(t, tiny, ...args)
  t.notOk('acceptedDraftTokens' in usage)
  const ways = [['--draft-model', tiny, '--num-draft-tokens', '3'], ['--prompt-lookup']]
  for (const way of ways) {
    const drafted = await generateJson(t, tiny, ...way, ...args)
    t.same(drafted.tokens, tokens)
    t.type(drafted.usage.acceptedDraftTokens, 'number')
  }
  const verbose = await run('generate', '-m', tiny, '--prompt-lookup', '--verbose', ...args)
  t.match(verbose.stderr, /tokens\/s, \d+ of them guessed; ended by/)
  const both = await run('generate', '-m', tiny, '--prompt-lookup', '--draft-model', tiny, 'Hello')
  t.equal(both.code, 2)
  t.match(both.stderr, /--draft-model/)
  const wrong = await run('generate', '-m', tiny, '--num-draft-tokens', '17', 'Hello')
  t.match(wrong.stderr, /--num-draft-tokens/)
})
