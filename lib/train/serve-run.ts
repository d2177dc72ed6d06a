import { OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import type { NativeTrainer, NativeTrainerArray, NativeTrainerOptions } from '../native-trainer.js'
import { type Cluster, errorOf, failureOf } from './cluster.js'

const calls = [
  'accumulate',
  'evaluate',
  'backward',
  'nextLeaf',
  'share',
  'stepTogether',
] as const satisfies readonly (keyof NativeTrainer)[]

/**
 * Carries out the orders of rank 0 until its run ends.
 *
 * @throws OpenELMError what rank 0's run ended with, or RANK_LOST.
 */
export async function serveRun(cluster: Cluster): Promise<void> {
  const rank = new Rank()
  try {
    await cluster.introduce()
    let underWay: Promise<void> = Promise.resolve()
    for (;;) {
      const order = await cluster.nextOrder()
      if (order.kind === 'cancel') rank.cancel()
      else if (order.kind === 'call') {
        underWay = answer(cluster, rank.carryOut(order.name, order.args))
        // The end of the loop tells why an answer could not be sent.
        underWay.catch(() => {})
      } else {
        await underWay
        await cluster.end()
        if (order.error) throw errorOf(order.error)
        return
      }
    }
  } finally {
    await rank.dispose()
  }
}

async function answer(cluster: Cluster, call: Promise<unknown>): Promise<void> {
  const outcome = await call.then(
    result => ({ result }),
    error => ({ error: failureOf(error) }),
  )
  await cluster.answer(outcome)
}

/** The trainer of a rank above 0. */
class Rank {
  #trainer: NativeTrainer | undefined

  async carryOut(name: string, args: readonly unknown[]): Promise<unknown> {
    if (name === 'create') {
      this.#trainer = new (loadNative().Trainer)(args[0] as NativeTrainerOptions)
      return
    }
    const trainer = this.#trainer!
    if (name === 'read') {
      const [array, begin, length] = args as [NativeTrainerArray, number, number]
      const bytes = new Uint8Array(length)
      trainer.read(array, begin, bytes)
      return bytes
    }
    if (name === 'write') {
      return trainer.write(...(args as Parameters<NativeTrainer['write']>))
    }
    const known = calls.find(call => call === name)
    if (!known) throw new OpenELMError('INTERNAL', `there is no order ${name}`)
    return await (trainer[known] as (...args: readonly unknown[]) => Promise<unknown>)(...args)
  }

  cancel(): void {
    this.#trainer?.cancel()
  }

  async dispose(): Promise<void> {
    await this.#trainer?.dispose()
  }
}
