import { type DraftSettings, nativeModelOf } from './draft-options.js'
import { loadNative, type NativeModel } from './native.js'
import type { NativeDrafter } from './native-session.js'

/**
 * What drafts for one sequence. The draft model used last keeps what its cache holds of the sequence from
 * one generation to the next.
 */
export class Drafters {
  #kept: { drafter: NativeDrafter; model: NativeModel; numDraftTokens: number } | undefined

  /**
   * What drafts for a text, if anything.
   *
   * @throws OpenELMError OUT_OF_MEMORY, DISPOSED.
   */
  start(
    { draftModel, promptLookup, numDraftTokens }: DraftSettings,
    text: readonly number[],
    contextLength: number,
  ): NativeDrafter | undefined {
    const drafter = draftModel
      ? this.#draftModel(nativeModelOf(draftModel), numDraftTokens, contextLength)
      : promptLookup
        ? loadNative().promptLookup(numDraftTokens)
        : undefined
    drafter?.start(Int32Array.from(text))
    return drafter
  }

  dispose(): void {
    this.#kept?.drafter.dispose()
    this.#kept = undefined
  }

  #draftModel(model: NativeModel, numDraftTokens: number, contextLength: number): NativeDrafter {
    const kept = this.#kept
    if (kept?.model === model && kept.numDraftTokens === numDraftTokens) return kept.drafter
    this.dispose()
    const drafter = model.createDrafter(contextLength, numDraftTokens)
    this.#kept = { drafter, model, numDraftTokens }
    return drafter
  }
}
