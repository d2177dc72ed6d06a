// Writes sentencepiece-golden.json: hard strings, and the ids that Google's SentencePiece gives them.
// SentencePiece wants a tokenizer.model, which is a table of pieces and scores; this packs one from the
// pieces of llama-tokenizer-js. The scores fall by one a piece, as in any BPE model, but that runs of
// spaces come after all else, as the order of that package's merges shows.
//
//   apt-get install python3-sentencepiece
//   node test/data/make-sentencepiece-golden.mjs ../shared/models/stories260K/tokenizer.json

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import llama from 'llama-tokenizer-js'

const texts = [
  // Spaces, at every place where a tokenizer might eat or add one.
  '',
  ' ',
  '  ',
  '   ',
  ' '.repeat(15),
  ' '.repeat(16),
  ' '.repeat(17),
  ' '.repeat(100),
  'Hello world',
  ' Hello world',
  '  Hello world',
  'Hello world ',
  'Hello world  ',
  'Hello  world',
  'Hello   world',
  'a b c  d   e    f',
  '           grabbed',
  ' . , ; ',
  '\u00a0no-break\u00a0space\u2003em\u3000ideographic\u200bzero',
  // Lines.
  '\n',
  '\n\n\n',
  ' \n \n',
  '\t',
  '\t\ttabs\tand spaces \t ',
  'one\ntwo\n\nthree\n',
  'one\r\ntwo\r\n\r\nthree\r\n',
  '\r',
  '\u2028line\u2029paragraph\u0085next',
  // Code and other text that is not prose.
  'def f(x):\n    if x > 0:\n        return x\n\treturn -x\n',
  'for (let i = 0; i < n; i++) {\n  sum += a[i] // ============\n}\n',
  '#include <stdio.h>\n\nint main(void) { return printf("%d\\n", 42); }',
  '{"key": [1, 2.5e-3, null, true], "nested": {"a": "b\\u0041"}}',
  '<div class="x">&nbsp;</div><!-- comment -->',
  'https://example.com/a/b.html?query=1&other=%20%C3%A9#fragment',
  'someone@example.org, C:\\Windows\\System32, /usr/local/bin',
  '| a | b |\n|---|:-:|\n| 1 | 2 |',
  '$$\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$',
  'SGVsbG8sIFdvcmxkIQ== d41d8cd98f00b204e9800998ecf8427e',
  '!!!???...---___***###@@@$$$%%%^^^&&&((()))',
  // Numbers.
  '0123456789',
  '3.14159265358979323846264338327950288419716939937510',
  '1,000,000.00 -273.15 0x7fffffff 1e10 \u00bd \u2167 \u0663\u0664',
  // Words.
  'antidisestablishmentarianism',
  'Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  'hahahahahahahahahahahahahahahahahahahahaha',
  '='.repeat(79),
  'llanfairpwllgwyngyll'.repeat(10),
  "It's don't won't I'll you're \u2018quoted\u2019 \u201ctext\u201d \u2014 dash\u2026",
  'ALL CAPS, Title Case, camelCase, snake_case, kebab-case',
  // What looks like a token but is text.
  '<s>',
  '</s>',
  '<unk>',
  '<s>Hello</s>',
  ' <s> </s> <unk> <pad>',
  '<0x41>',
  '<0x0A><0x00>',
  '[INST] <<SYS>> system <</SYS>> [/INST]',
  '<|user|>\nHi</s>\n<|assistant|>\n',
  '\u2581',
  '\u2581\u2581word \u2581 word\u2581',
  // Control and private characters.
  '\0',
  'a\0b\0\0c',
  '\u0001\u0002\u001b[31mred\u001b[0m\u007f',
  '\ufeffbyte order mark',
  '\ue000\uf8ff\ufdd0\uffff\u{10ffff}',
  // Not text: lone surrogates, which UTF-8 cannot write, and what stands for them.
  '\ufffd',
  '\ud800',
  'a\ud83db',
  '\udc00\ud800',
  '\ud83e\ud83e\udd99',
  // Emoji.
  '\u{1f999}',
  '\u{1f600}\u{1f601}\u{1f602}',
  '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466} family',
  '\u{1f44d}\u{1f3fd} \u{1f3f3}\ufe0f\u200d\u{1f308} \u2764\ufe0f',
  '\u{1f1eb}\u{1f1f7}\u{1f1ef}\u{1f1f5} \u{1f3f4}\u{e0067}\u{e0062}\u{e007f}',
  '1\ufe0f\u20e3',
  // Scripts.
  '\u5feb\u901f\u7684\u68d5\u8272\u72d0\u72f8\u8df3\u8fc7\u4e86\u61d2\u72d7\u3002',
  '\u9547\ua64a\u{20000}\u{2a6d6}',
  '\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3001\uff76\uff80\uff76\uff85 \uff21\uff22\uff23',
  '\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4',
  '\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0661\u0662\u0663',
  '\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd',
  '\u202eright to left\u202c \u200eleft\u200f',
  '\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01',
  '\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e',
  '\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0456\u0457\u0454\u0491',
  '\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5',
  '\u{10330}\u{10331}\u{1d54f}\u{1d7d8}',
  // Composed and decomposed: LLaMA's normalizer keeps them apart.
  'caf\u00e9 na\u00efve \u00c5ngstr\u00f6m',
  'cafe\u0301 nai\u0308ve A\u030angstro\u0308m',
  '\u1ec7 e\u0323\u0302 e\u0302\u0323',
  '\ufb01ne \u2460 \u212b \uff46\uff55\uff4c\uff4c',
  'Z\u0351\u036b\u0343\u036aa\u0310\u0369l\u0366g\u0301o\u035c',
  // Longer and mixed.
  'The llama (/\u02c8l\u0251\u02d0m\u0259/; \u{1f999}) is a domesticated South American camelid.\n\n' +
    'Llamas are social animals and live with others as a herd. Their wool is soft and contains only ' +
    'a small amount of lanolin.[2] Llamas can learn simple tasks after a few repetitions.',
  'English, \u4e2d\u6587, \u0420\u0443\u0441\u0441\u043a\u0438\u0439, \u0639\u0631\u0628\u064a, \u{1f680}!',
  'Once upon a time, there was a little girl named Lily. She loved to play outside in the park.',
]

const type = { normal: 1, unknown: 2, control: 3, byte: 6 }

function modelProto(pieces) {
  const piece = (text, id) =>
    message(1, [
      bytes(1, Buffer.from(text)),
      float(2, id < 259 ? 0 : /^\u2581\u2581+$/.test(text) ? -1e9 : 259 - id),
      integer(
        3,
        id === 0 ? type.unknown : id < 3 ? type.control : id < 259 ? type.byte : type.normal,
      ),
    ])
  const trainerSpec = message(2, [
    integer(3, 2), // model_type: BPE
    integer(4, pieces.length), // vocab_size
    integer(35, 1), // byte_fallback
    ...[0, 1, 2].map((id, i) => integer(40 + i, id)), // unk_id, bos_id, eos_id
  ])
  const normalizerSpec = message(3, [
    bytes(1, Buffer.from('identity')), // name
    integer(3, 1), // add_dummy_prefix
    integer(4, 0), // remove_extra_whitespaces
    integer(5, 1), // escape_whitespaces
  ])
  return Buffer.concat([...pieces.map(piece), trainerSpec, normalizerSpec])
}

function varint(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]
}

function integer(field, value) {
  return Buffer.from([...varint(field << 3), ...varint(value)])
}

function float(field, value) {
  return Buffer.concat([
    Buffer.from(varint((field << 3) | 5)),
    new Uint8Array(Float32Array.of(value).buffer),
  ])
}

function bytes(field, value) {
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(value.length)]), value])
}

function message(field, fields) {
  return bytes(field, Buffer.concat(fields))
}

// Not spm_encode, which ends a text at its first line.
const encode = `
import json, sys, sentencepiece
model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
json.dump([model.encode(text) for text in json.load(sys.stdin)], sys.stdout)
`

function sentencePieceIds(pieces) {
  const directory = mkdtempSync(join(tmpdir(), 'sentencepiece-'))
  try {
    const file = join(directory, 'tokenizer.model')
    writeFileSync(file, modelProto(pieces))
    const input = JSON.stringify(texts.map(text => text.toWellFormed()))
    return JSON.parse(execFileSync('/usr/bin/python3', ['-c', encode, file], { input }))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const { vocab } = JSON.parse(readFileSync(process.argv[2], 'utf8')).model
const llamaIds = sentencePieceIds(llama.vocabById)
const storiesIds = sentencePieceIds(Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b]))
const golden = texts.map((text, i) => ({ text, llama: llamaIds[i], stories260K: storiesIds[i] }))
const ascii = JSON.stringify(golden).replace(
  /[^ -~]/g,
  unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
)
const output = join(import.meta.dirname, 'sentencepiece-golden.json')
writeFileSync(output, ascii)
execFileSync('npx', ['biome', 'format', '--write', output])
