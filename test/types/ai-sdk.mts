/** Our types of the AI SDK's specification beside its own: `test/ai-sdk/types.test.ts` compiles this. */
import { generateText as generateText6, createProviderRegistry as registryOf6 } from 'ai6'
import { generateText as generateText7, createProviderRegistry as registryOf7 } from 'ai7'
import type { OpenELM } from 'openelm'
import { createOpenELM, openelm } from 'openelm/ai-sdk'
import type { LanguageModelV3 as Model3, ProviderV3 as Provider3 } from 'provider3'
import type { LanguageModelV3 as Model4, ProviderV3 as Provider4 } from 'provider4'

declare const loaded: OpenELM

const model = openelm(loaded)
const provider = createOpenELM({ models: { nano: loaded } })

export const models: [Model3, Model4] = [model, model]
export const providers: [Provider3, Provider4] = [provider, provider]
export const registries = [registryOf6({ openelm: provider }), registryOf7({ openelm: provider })]
export const texts = [
  generateText6({ model, prompt: 'Hello' }),
  generateText7({ model: provider.languageModel('nano'), prompt: 'Hello' }),
]

// @ts-expect-error: their types are there, and are not those of another version.
export const other3: Model3 = { ...model, specificationVersion: 'v2' }
// @ts-expect-error: as above.
export const other4: Model4 = { ...model, specificationVersion: 'v4' }
