import type { GenerateResult, OpenELM } from '../index.js'
import type { Queue } from './queue.js'

const secondsBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

class Histogram {
  readonly #counts = new Array<number>(secondsBuckets.length).fill(0)
  #sum = 0
  #count = 0

  observe(seconds: number): void {
    this.#sum += seconds
    this.#count++
    const bucket = secondsBuckets.findIndex(bound => seconds <= bound)
    if (bucket >= 0) this.#counts[bucket]!++
  }

  lines(name: string): string[] {
    let below = 0
    return [
      ...secondsBuckets.map((bound, i) => {
        below += this.#counts[i]!
        return `${name}_bucket{le="${bound}"} ${below}`
      }),
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ]
  }
}

/** What Prometheus is told of a server. */
export class Metrics {
  readonly queueSeconds = new Histogram()
  readonly timeToFirstTokenSeconds = new Histogram()
  readonly requestSeconds = new Histogram()
  readonly #queue: Queue
  readonly #requests = new Map<string, number>()
  #promptTokens = 0
  #cachedTokens = 0
  #promptSeconds = 0
  #predictedTokens = 0
  #predictedSeconds = 0

  constructor(queue: Queue) {
    this.#queue = queue
  }

  countRequest(route: string, status: number): void {
    const labels = `{route="${route}",status="${status}"}`
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1)
  }

  countPrompt(tokens: number, cachedTokens: number, seconds: number): void {
    this.#promptTokens += tokens - cachedTokens
    this.#cachedTokens += cachedTokens
    this.#promptSeconds += seconds
  }

  countAnswer({ usage, timings }: GenerateResult): void {
    this.#predictedTokens += usage.completionTokens
    this.#predictedSeconds += timings.decodeMs / 1000
  }

  /** In Prometheus's text format. */
  format(model: OpenELM): string {
    const { weights, kvCache } = model.memory
    const { running, deferred, meanRunning } = this.#queue
    const values: [string, 'counter' | 'gauge', string, number][] = [
      ['prompt_tokens_total', 'counter', 'Prompt tokens computed', this.#promptTokens],
      ['prompt_tokens_cached_total', 'counter', 'Prompt tokens a cache held', this.#cachedTokens],
      ['prompt_seconds_total', 'counter', 'Time to first tokens', this.#promptSeconds],
      ['tokens_predicted_total', 'counter', 'Tokens generated', this.#predictedTokens],
      ['tokens_predicted_seconds_total', 'counter', 'Time of those', this.#predictedSeconds],
      ['requests_processing', 'gauge', 'Generations that run', running],
      ['requests_deferred', 'gauge', 'Requests that wait', deferred],
      [
        'n_busy_slots_per_decode',
        'gauge',
        'Mean of generations at a time, while any ran',
        meanRunning,
      ],
      ['kv_cache_bytes', 'gauge', 'Memory of KV caches', kvCache],
      ['weight_bytes', 'gauge', 'Memory of weights', weights],
    ]
    const histograms: [string, string, Histogram][] = [
      ['queue_seconds', 'Time until a request began', this.queueSeconds],
      ['time_to_first_token_seconds', 'Time until its first token', this.timeToFirstTokenSeconds],
      ['request_seconds', 'Time of a request', this.requestSeconds],
    ]
    const lines = values.flatMap(([name, type, help, value]) => [
      ...head(name, type, help),
      `openelm_${name} ${value}`,
    ])
    lines.push(...head('requests_total', 'counter', 'Requests answered'))
    for (const [labels, count] of this.#requests)
      lines.push(`openelm_requests_total${labels} ${count}`)
    for (const [name, help, histogram] of histograms) {
      lines.push(...head(name, 'histogram', help), ...histogram.lines(`openelm_${name}`))
    }
    return `${lines.join('\n')}\n`
  }
}

function head(name: string, type: string, help: string): string[] {
  return [`# HELP openelm_${name} ${help}.`, `# TYPE openelm_${name} ${type}`]
}
