import { readFileSync } from 'node:fs'
import t from 'tap'

/**
 * What went wrong in other tools that fine-tune, and the tests here that would fail if it did: the file
 * below test/, and a part of the test's title as the file has it.
 */
const tests: Record<string, readonly (readonly [file: string, title: string])[]> = {
  '1 an adapter of a tied matrix merged into both ends, or an output matrix lost': [
    ['adapters/merge', ' computes what the adapter does'],
    ['adapters/merge', 'whose head is adapted with the embedding'],
  ],
  '2 magnitudes of DoRA that are never updated': [
    ['train/adapter-gradients', ': losses, gradients and steps'],
  ],
  '3 a merge of DoRA without the magnitudes': [
    ['adapters/merge', ' computes what the adapter does'],
  ],
  '4 dropout of DoRA on the wrong path': [
    ['train/adapter-gradients', 'dropout is on the path of the adapter alone'],
    ['train/adapter-gradients', 'gradients under dropout are slopes of the loss'],
    ['kernels', 'adapted-layer'],
  ],
  '5 DoRA beside quantised weights computes nonsense': [
    ['train/frozen-weights', 'exactly as beside the numbers that it means'],
    ['adapters/run-time', ' an adapter computes what a merged model does'],
    ['adapters/merge', 'an adapter that has learnt beside quantised weights belongs to them'],
  ],
  '6 the scale: alpha not divided by the rank, rsLoRA ignored, alpha lost in a conversion': [
    ['adapters/merge', 'alpha by pattern, and the scale of rsLoRA'],
    ['adapters/write-adapter', 'targets with an alpha and a rank of their own'],
    ['train/finetune', 'goes on with an adapter'],
  ],
  '7 a merge into 4 bits erases the adapter': [
    ['adapters/merge', 'a quantised base, and what rounding keeps of a small change'],
  ],
  '8 losses averaged by micro-batch': [
    ['train/finetune', 'the size of micro-batches changes no bit of an adapter'],
    [
      'train/examples/example-batches',
      'a step has the same sequences and targets however it is cut',
    ],
  ],
  '9 the model never learns to stop, for EOS is masked by value': [
    ['train/examples/example-batches', 'a target is a place, not a value'],
    ['train/examples/templates', 'the model learns to stop'],
  ],
  '10 padding counted as a target': [
    ['train/examples/example-batches', 'sequences lie side by side without padding'],
  ],
  '11 the border of an answer searched by ids of its marker': [
    ['train/examples/templates', 'the border of an answer is where its text begins'],
  ],
  '12 BOS twice, or before the answer': [
    ['train/examples/templates', 'BOS comes once, and not before an answer'],
  ],
  '13 truncation that leaves nothing to learn, or loses EOS': [
    ['train/examples/templates', 'a row that is too long is cut'],
    ['train/examples/templates', 'a row of which no target fits is dropped, and counted'],
    ['train/examples/preferences', 'an answer can be empty: its end is learnt'],
    ['train/examples/preferences', 'a prompt loses what must be lost'],
  ],
  '14 a reference of DPO in another precision or with dropout': [
    ['train/finetune', 'preferences by the '],
    ['train/finetune', 'goes on with an adapter'],
  ],
  '15 IPO divides by the wrong length': [
    ['train/examples/preferences', 'the length of an answer is that of its targets'],
  ],
  '16 examples in one batch attend to each other': [
    ['train/adapter-gradients', 'the same bits for all threads, micro-batches, and recomputed'],
    ['train/examples/example-batches', 'the end of one is no context of the next'],
  ],
  '17 a resumed run forgets the optimiser, the schedule or its place in the data': [
    ['train/finetune', ': interrupted and resumed, the same bits'],
    ['cli/finetune', 'a run that is killed ends as one that is not'],
  ],
  '18 an adapter with whole modules fails late, or they are dropped silently': [
    ['adapters/merge', 'configs of PEFT that mean another model are refused by name'],
  ],
  '19 a batch with different adapters': [
    [
      'adapters/run-time',
      'calls and sessions with different adapters in one batch compute what each does alone',
    ],
  ],
  '20 a stray space breaks the border of an answer': [
    [
      'train/examples/templates',
      'no space comes between a prompt and its completion that neither has',
    ],
  ],
  '21 OpenELM with PEFT, whose targets must be named': [
    ['adapters/write-adapter', 'the config is that of PEFT 0.9'],
  ],
}

t.equal(Object.keys(tests).length, 21)
for (const [bug, places] of Object.entries(tests)) {
  for (const [file, title] of places) {
    const text = readFileSync(new URL(`../${file}.test.ts`, import.meta.url), 'utf8')
    t.ok(text.includes(title), `${bug}: ${file}, "${title}"`)
  }
}
