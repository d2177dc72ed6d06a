"""Writes added-tokens-golden.json: what Hugging Face's tokenizers make of texts with added tokens.

pip install tokenizers==0.23.2
python3 make-added-tokens-golden.py [texts for each tokenizer, default 24] [file]
"""
import json
import random
import sys

from tokenizers import Tokenizer

METASPACE = '\u2581'


def added(*tokens):
    """From (content, flags): w single_word, l lstrip, r rstrip, n normalized, s special."""
    return [
        dict(id=0, content=content, single_word='w' in flags, lstrip='l' in flags,
             rstrip='r' in flags, normalized='n' in flags, special='s' in flags)
        for content, flags in tokens
    ]


def byte_level_alphabet():
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(0x100 + i) for i, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def tokenizer_json(pieces, merges, tokens, normalizer=None, pre_tokenizer=None, **model):
    pieces = ['<unk>', '<s>', '</s>', *pieces]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokens = added(('<unk>', 's'), ('<s>', 's'), ('</s>', 's')) + [dict(token) for token in tokens]
    return dict(
        version='1.0', truncation=None, padding=None, added_tokens=tokens, normalizer=normalizer,
        pre_tokenizer=pre_tokenizer, post_processor=None, decoder=None,
        model=dict(type='BPE', dropout=None, unk_token=None, continuing_subword_prefix=None,
                   end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                   ignore_merges=False, vocab=vocab, merges=merges) | model,
    )


def byte_level(use_regex=True):
    return dict(type='ByteLevel', add_prefix_space=False, trim_offsets=True, use_regex=use_regex)


def metaspace(**options):
    return dict(type='Metaspace', replacement=METASPACE, **options)


MIXED = added(
    ('<|user|>', ''), ('<|user', 'n'), ('<|end|>', 's'), ('<pad>', 'sn'), ('<mask>', 'sl'),
    ('cat', 'wn'), ('dog', 'w'), ('<left>', 'l'), ('<right>', 'r'), ('<both>', 'lrn'),
    ('\n\n', ''), ('\u00e9t', 'n'), ('e\u0301s', ''), ('a  b', 'n'), ('\u4e16', ''), ('+*?', ''),
)
BYTES = [f'<0x{byte:02X}>' for byte in range(256)]
PIECES = [METASPACE, *'abcdegostu<>|', METASPACE * 2, 'ca', 'cat', METASPACE + 'a', METASPACE + 'ca']
MERGES = [[METASPACE, METASPACE], ['c', 'a'], ['ca', 't'], [METASPACE, 'a'], [METASPACE, 'ca']]
BYTE_MERGES = [['c', 'a'], ['ca', 't'], ['\u0120', 'a'], ['\u0120', 'ca'], ['\u0120', '\u0120']]
BYTE_PIECES = [*byte_level_alphabet(), *(''.join(pair) for pair in BYTE_MERGES)]
LEGACY = dict(type='Sequence', normalizers=[
    dict(type='Prepend', prepend=METASPACE),
    dict(type='Replace', pattern=dict(String=' '), content=METASPACE)])
LLAMA3 = dict(type='Split', behavior='Isolated', invert=False, pattern=dict(Regex=(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")))


def sentence_piece(**parts):
    pieces = [*BYTES, *PIECES]
    return tokenizer_json(pieces, MERGES, MIXED, byte_fallback=True, unk_token='<unk>',
                          fuse_unk=True, **parts)


TOKENIZERS = {
    'byte-level': tokenizer_json(BYTE_PIECES, BYTE_MERGES, MIXED, pre_tokenizer=byte_level()),
    'byte-level, NFC': tokenizer_json(BYTE_PIECES, BYTE_MERGES, MIXED, dict(type='NFC'),
                                      byte_level()),
    'byte-level, split as in LLaMA 3': tokenizer_json(
        BYTE_PIECES, BYTE_MERGES, MIXED, None,
        dict(type='Sequence', pretokenizers=[LLAMA3, byte_level(False)])),
    'SentencePiece, legacy': sentence_piece(normalizer=LEGACY),
    'Metaspace, first': sentence_piece(
        pre_tokenizer=metaspace(prepend_scheme='first', split=False)),
    'Metaspace, first, split': sentence_piece(
        pre_tokenizer=metaspace(prepend_scheme='first', split=True)),
    'Metaspace, by default': sentence_piece(pre_tokenizer=metaspace()),
    'Metaspace, never': sentence_piece(
        pre_tokenizer=metaspace(prepend_scheme='never', split=False)),
    'unknown, fused': tokenizer_json(
        PIECES, MERGES, MIXED, None, metaspace(split=True), unk_token='<unk>', fuse_unk=True),
    'unknown, repeated': tokenizer_json(
        PIECES, MERGES, MIXED, None, metaspace(split=True), unk_token='<unk>'),
}
UNITS = [
    *(token['content'] for token in MIXED), '<s>', '</s>', '<unk>', ' ', ' ', '  ', '\n', '\t',
    '\u00a0', '\u3000', 'a', 'cat', 'dogs', 'x', '_', '1', '-', "'s", '\u00e9', 'e\u0301', 't',
    '\u0301', '\U0001f999', '\u4e16\u754c', '<|', '|>', '<', METASPACE, '.\n',
]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    file = sys.argv[2] if len(sys.argv) > 2 else 'added-tokens-golden.json'
    choose = random.Random(1)
    cases = []
    for name, definition in TOKENIZERS.items():
        tokenizer = Tokenizer.from_str(json.dumps(definition))
        for token in definition['added_tokens']:
            token['id'] = tokenizer.token_to_id(token['content'])
        texts = []
        for _ in range(count):
            text = ''.join(choose.choices(UNITS, k=choose.randint(1, 12)))
            ids = []
            for is_text in [True, False]:
                tokenizer.encode_special_tokens = is_text
                ids.append(tokenizer.encode(text, add_special_tokens=False).ids)
            texts.append([text, *ids])
        cases.append(dict(name=name, tokenizer=definition, texts=texts))
    with open(file, 'w') as out:
        json.dump(cases, out, separators=(',', ':'))


main()
