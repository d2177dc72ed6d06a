/** Our types of Electron's Prompt API beside its own: `test/electron/types.test.ts` compiles this. */
/// <reference path="../clients/node_modules/electron/electron.d.ts" />
import { LanguageModelUtility, localAIHandler } from 'electron/utility'
import type { OpenELM } from 'openelm'
import { connect, languageModel, serve } from 'openelm/electron'

declare const model: OpenELM
declare const port: Electron.MessagePortMain

localAIHandler.setPromptAPIHandler(() => languageModel(model, LanguageModelUtility))
serve(model, port)
connect(port)

// @ts-expect-error: the types are there, and want all that a session does.
localAIHandler.setPromptAPIHandler(() => class {})
