// The main process: the window, the process of the model, and the channel between them.
import { dirname, join, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  app,
  BrowserWindow,
  MessageChannelMain,
  net,
  protocol,
  session,
  utilityProcess,
} from 'electron'

const here = dirname(fileURLToPath(import.meta.url))
const page = join(here, 'renderer')
const library = join(here, 'node_modules', 'openelm', 'dist')
const address = 'app://chat/index.html'

app.enableSandbox()
protocol.registerSchemesAsPrivileged([
  { scheme: 'app', privileges: { standard: true, secure: true, supportFetchAPI: true } },
])

app.on('web-contents-created', (_event, contents) => {
  contents.setWindowOpenHandler(() => ({ action: 'deny' }))
  contents.on('will-navigate', event => event.preventDefault())
})
app.on('window-all-closed', () => app.quit())

void app.whenReady().then(async () => {
  const { defaultSession } = session
  defaultSession.setPermissionRequestHandler((_contents, _permission, answer) => answer(false))
  protocol.handle('app', serveFile)
  const window = new BrowserWindow({
    width: 900,
    height: 700,
    minWidth: 420,
    minHeight: 360,
    webPreferences: {
      preload: join(here, 'preload.cjs'),
      contextIsolation: true,
      nodeIntegration: false,
      sandbox: true,
    },
  })
  window.removeMenu()
  startModelProcess(window)
  await window.loadURL(address)
})

/** The page's own files, and the modules of openelm/electron that it imports. */
function serveFile({ url }) {
  const { pathname } = new URL(url)
  const prefix = '/openelm/'
  const folder = pathname.startsWith(prefix) ? library : page
  const name = decodeURIComponent(pathname.slice(folder === library ? prefix.length : 1))
  const file = join(folder, name)
  if (!file.startsWith(folder + sep)) return new Response('', { status: 404 })
  return net.fetch(pathToFileURL(file).href)
}

/** A page that is loaded, or loaded again, gets a process of its own, and so it does when one has ended. */
function startModelProcess(window) {
  let model
  let isClosing = false
  const start = () => {
    model = utilityProcess.fork(join(here, 'model-process.js'), [], { serviceName: 'model' })
    const started = model
    started.once('exit', () => {
      if (!isClosing && model === started) start()
    })
    const { port1, port2 } = new MessageChannelMain()
    started.postMessage('port', [port1])
    window.webContents.postMessage('port', null, [port2])
  }
  window.webContents.on('did-finish-load', () => {
    const old = model
    start()
    old?.kill()
  })
  window.on('closed', () => {
    isClosing = true
    model?.kill()
  })
}
