// The models that can be chosen. Those of the hub are downloaded once, into the cache that Hugging Face's
// own tools share.
export const models = [
  { name: 'openelm-nano', title: 'Nano, comes with this app' },
  { name: 'apple/OpenELM-270M-Instruct', title: 'OpenELM 270M Instruct, 0.5 GB' },
  { name: 'apple/OpenELM-450M-Instruct', title: 'OpenELM 450M Instruct, 0.9 GB' },
  { name: 'apple/OpenELM-1_1B-Instruct', title: 'OpenELM 1.1B Instruct, 2.2 GB' },
]
