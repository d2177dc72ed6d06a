import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { basename, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Command, Option } from 'commander'
import type { OpenELM } from '../index.js'
import { createServer } from '../server/index.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import {
  addOptions,
  loadOptions,
  modelOption,
  namedModel,
  numeric,
  pick,
  renamed,
} from './options.js'
import { print } from './output.js'

/** How long requests may go on that were there when the server was asked to end. */
const drainMs = 30_000

const serverOptions = [
  renamed(
    new Option('--alias <name>', 'what the model is called in answers (default: its name)'),
    'modelId',
  ).helpGroup('Serving:'),
  new Option('--api-key <key>', 'a key that each request must have; better in OPENELM_API_KEY')
    .env('OPENELM_API_KEY')
    .helpGroup('Serving:'),
  numeric('--parallel <n>', 'texts generated at a time (default: 4)', 'Serving:'),
  numeric('--max-queue <n>', 'requests that may wait (default: 64)', 'Serving:'),
  numeric(
    '--cache-slots <n>',
    'caches kept for prompts that begin alike (default: as --parallel)',
    'Serving:',
  ),
  numeric('--max-tokens <n>', 'longest answer (default: what the context leaves)', 'Serving:'),
  repeated(
    '--allowed-host <name>',
    'a Host header to allow, as of a proxy; may be repeated',
    'allowedHosts',
  ),
  repeated('--allowed-origin <url>', 'a web page that may call; may be repeated', 'allowedOrigins'),
]

export const serve = new Command('serve')
  .description("answer requests of OpenAI's HTTP API, and show a page to chat on")
  .argument('[model]', 'the same as -m')
  .option('--host <address>', 'where to listen', '127.0.0.1')
  .addOption(numeric('--port <n>', 'where to listen; 0 takes a free port').default(8080))
  .option('--insecure', 'let other machines in without a key')
  .addHelpText(
    'after',
    `
It listens before the model is loaded. Ctrl-C lets requests end, for 30 seconds at most; a second one
ends it at once.

Example:
  $ openelm serve OpenELM-270M-Instruct --port 8080
  $ curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' \\
      -d '{"prompt": "Once upon a time", "max_tokens": 40}'`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    const { host, port, apiKey, insecure } = options
    if (!isLocal(host) && !apiKey && !insecure) {
      command.error(`${host} lets other machines in: give an --api-key, or say --insecure`)
    }
    const source = namedModel(argument, options, command)!
    const signal = interruptSignal()
    let load = () => {}
    const loading = new Promise<OpenELM>((resolve, reject) => {
      load = () => void loadModel(source, options, signal).then(resolve, reject)
    })
    const modelId = /^[./]|^$/.test(source) ? basename(resolve(source)) : source
    const allowedHosts = [isIPv6(host) ? `[${host}]` : host, ...(options.allowedHosts ?? [])]
    const serving = { modelId, ...pick(options, serverOptions), allowedHosts }
    const server = createServer(loading, serving)
    server.listen(port, host)
    await once(server, 'listening')
    print(`${addressOf(server)}\n`)
    load()
    try {
      await using _ = await loading
      if (!signal.aborted) await once(signal, 'abort')
      await drain(server)
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      server.close()
      server.closeAllConnections()
    }
  })
addOptions(serve, [modelOption, ...loadOptions, ...serverOptions])

function repeated(flags: string, description: string, attribute: string): Option {
  const collect = (text: string, before: string[] = []) => [...before, text]
  return renamed(new Option(flags, description).argParser(collect).helpGroup('Serving:'), attribute)
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function addressOf(server: Server): string {
  const { address, port } = server.address() as AddressInfo
  return `http://${isIPv6(address) ? `[${address}]` : address}:${port}`
}

/** Lets the requests end that are there. */
async function drain(server: Server): Promise<void> {
  server.close()
  const patience = new AbortController()
  const timeUp = setTimeout(drainMs, undefined, { signal: patience.signal }).catch(() => {})
  await Promise.race([once(server, 'close'), timeUp])
  patience.abort()
  server.closeAllConnections()
}
