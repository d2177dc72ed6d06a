/** What both of Apple's recipes have; the fields are options of `finetune`. */
const common = { eps: 1e-8, beta1: 0.9, weightDecay: 0, maxGradNorm: 1 } as const

/** Eight sequences, twice before each step, on each of 8 GPUs, whose number Apple does not say. */
const batchSize = 128

/** Preferences alone, on the base model; from projects/openelm/instruction_tuning of CoreNet. */
const instruct = {
  ...common,
  method: 'full',
  objective: 'dpo',
  template: 'zephyr',
  exact: true,
  beta: 0.01,
  labelSmoothing: 0,
  batchSize,
  sequenceLength: 1024,
  maxPromptLength: 512,
  minLearningRate: 0,
  warmupRatio: 0.1,
  schedule: 'hugging-face',
  beta2: 0.999,
  zLoss: 0,
  seed: 42,
} as const

/** How Apple tuned the released models: which data, `readExamples` says; how much of it, `epochs` or `steps`. */
export const fineTuningPresets = {
  /** Adapters on commonsense_170k; from projects/openelm/peft_configs of CoreNet. */
  commonsense: {
    ...common,
    method: 'lora',
    rank: 32,
    alpha: 32,
    dropout: 0.1,
    targets: ['all', 'embedding'],
    objective: 'sft',
    template: 'commonsense',
    trainPrompts: true,
    steps: 4375,
    batchSize,
    sequenceLength: 2048,
    warmupSteps: 1000,
    warmupLearningRate: 1e-6,
    maxLearningRate: 3e-4,
    minLearningRate: 3e-5,
    schedule: 'corenet',
    beta2: 0.95,
    zLoss: 1e-4,
  },
  'instruct-270M': { ...instruct, epochs: 5, maxLearningRate: 2e-5, dpoLoss: 'hinge' },
  'instruct-450M': { ...instruct, epochs: 8, maxLearningRate: 3e-5, dpoLoss: 'hinge' },
  'instruct-1.1B': { ...instruct, epochs: 5, maxLearningRate: 5e-5, dpoLoss: 'sigmoid' },
  'instruct-3B': { ...instruct, epochs: 10, maxLearningRate: 1e-4, dpoLoss: 'hinge' },
} as const
