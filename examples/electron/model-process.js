// The process of the model. The page asks for one by its name, with a port to serve it through:
//   { load: name }, [port]   answered by { progress }, from 0 to 1, then { loaded: name } or { error }
import { OpenELM, pull } from 'openelm'
import { serve } from 'openelm/electron'
import { models } from './renderer/models.js'

let model
let loading = new AbortController()

process.parentPort.once('message', ({ ports: [control] }) => {
  control.on('message', ({ data: { load: name }, ports: [port] }) => {
    loading.abort()
    loading = new AbortController()
    void load(name, port, control, loading.signal)
  })
  control.start()
})

async function load(name, port, control, signal) {
  try {
    if (!models.some(known => known.name === name)) throw new Error(`unknown model: ${name}`)
    await model?.dispose()
    model = undefined
    const tell = share => (done, total) => {
      control.postMessage({ load: name, progress: share * (done / Math.max(1, total)) })
    }
    const source = name.includes('/') ? await pull(name, { signal, onProgress: tell(0.9) }) : name
    const loaded = await OpenELM.load(source, { signal })
    signal.throwIfAborted()
    model = loaded
    serve(model, port)
    control.postMessage({ load: name, loaded: true })
  } catch (error) {
    port.close()
    if (!signal.aborted) control.postMessage({ load: name, error: error.message })
  }
}
