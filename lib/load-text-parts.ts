import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadChatTemplate } from './chat/load-chat-template.js'
import type { ChatTemplate } from './chat/template.js'
import type { Checkpoint } from './checkpoint.js'
import { OpenELMError } from './errors.js'
import { loadTokenizer, type Tokenizer } from './tokenizer.js'

/** What makes tokens of text and of conversations. An error is in place of what cannot be used. */
export interface TextParts {
  readonly tokenizer: Tokenizer | OpenELMError
  readonly chatTemplate: ChatTemplate | OpenELMError
}

/** @throws OpenELMError INVALID_TOKENIZER for what a caller gives or a tokenizer.json, IO_ERROR. */
export async function loadTextParts(
  checkpoint: Checkpoint,
  given: { tokenizer: string | object | undefined; chatTemplate: string | undefined },
): Promise<TextParts> {
  return {
    tokenizer: await loadModelTokenizer(checkpoint, given.tokenizer),
    chatTemplate: await loadModelChatTemplate(checkpoint, given.chatTemplate),
  }
}

/** A model of another vocabulary without a tokenizer of its own can be used with token ids alone. */
async function loadModelTokenizer(
  { directory, config, eosTokenIds }: Checkpoint,
  given: string | object | undefined,
): Promise<Tokenizer | OpenELMError> {
  try {
    return await loadTokenizer(given ?? directory, { ...config, eosTokenIds })
  } catch (error) {
    const isNamed = given !== undefined || existsSync(join(directory, 'tokenizer.json'))
    const doesNotFit = error instanceof OpenELMError && error.code === 'INVALID_TOKENIZER'
    if (isNamed || !doesNotFit) throw error
    return error
  }
}

/** A model whose own template cannot be used has everything but conversations. */
async function loadModelChatTemplate(
  { directory }: Checkpoint,
  given: string | undefined,
): Promise<ChatTemplate | OpenELMError> {
  try {
    return await loadChatTemplate(directory, given)
  } catch (error) {
    const isUnusable = error instanceof OpenELMError && error.code === 'INVALID_TOKENIZER'
    if (given !== undefined || !isUnusable) throw error
    return error
  }
}
