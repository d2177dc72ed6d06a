/**
 * A model in one process and its users in others, with a MessagePort between them: in Electron, the model
 * in a utility process and the page that talks to it. Nothing here imports Electron.
 *
 * @module
 */
export { connect } from './connect.js'
export type { ConnectedChat } from './connected-chat.js'
export type { ConnectedModel } from './connected-model.js'
export { languageModel, type PromptSession, type PromptSessionClass } from './language-model.js'
export type { Port } from './port.js'
export { serve } from './serve.js'
