import { setTimeout } from 'node:timers/promises'
import { type BackendName, backends, type OpenELM } from '../../lib/index.js'

/**
 * The backend that tests run on which hold for all of them. OPENELM_TEST_BACKEND names it, cpu by default;
 * OPENELM_ADDON may name the addon that emulates the others.
 */
export const testBackend = (process.env.OPENELM_TEST_BACKEND ?? 'cpu') as BackendName

export const isEmulated = backends().some(
  ({ name, device }) => name === testBackend && device === 'emulated',
)

/** How much of something a test does whose point is not how much: less where a GPU is emulated. */
export const volume = (usual: number, emulated: number) => (isEmulated ? emulated : usual)

/** Waits for the memory of generations that were left: they give it back when their batch has ended. */
export async function untilIdle(model: OpenELM): Promise<void> {
  while (model.memory.kvCache > 0) await setTimeout(1)
}

/**
 * The relative error of a whole matrix of logits that each dtype may have against the float64 oracle on
 * the same weights. On the CPU, q8 and q4 also quantise what they multiply the weights with; matrix units
 * of GPUs take 16-bit inputs.
 */
export const tolerances = {
  cpu: { float32: 1e-5, float16: 1e-5, bfloat16: 1e-5, q8: 1e-3, q4: 1e-3 },
  cuda: { float32: 1e-5, float16: 1e-2, bfloat16: 1e-2, q8: 1e-2, q4: 1e-2 },
  metal: { float32: 1e-5, float16: 1e-2, bfloat16: 1e-2, q8: 1e-2, q4: 1e-2 },
}[testBackend]
