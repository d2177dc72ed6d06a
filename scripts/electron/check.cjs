// Drives examples/electron in a real Electron, as its main module: scripts/electron-check.sh. Prints a
// line for each thing that must hold, takes pictures, and ends with 1 where one does not.
const { mkdirSync, readFileSync, readdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')
const { app, BrowserWindow } = require('electron')
const { MockHub } = require('./mock-hub.cjs')

const kills = 20
const loads = 30
const pictures = process.env.OPENELM_CHECK_PICTURES
const folder = app.getPath('temp')
process.env.HF_HUB_CACHE = join(folder, `openelm-check-${process.pid}`)

const wish = 'Tell me a story about a cat and a boat.'

let failed = 0
function ok(isSo, what) {
  console.log(`${isSo ? 'ok' : 'not ok'} ${what}`)
  if (!isSo) failed++
}

let page
const inPage = code => page.executeJavaScript(code)
const until = async (what, condition) => {
  const end = Date.now() + 120_000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came: ${what}`)
    await pause(20)
  }
}
const modelProcess = () => app.getAppMetrics().find(({ name }) => name === 'model')
const ready = () =>
  until('a model that is ready', () => inPage(`!document.getElementById('send').disabled`))
const ask = text =>
  inPage(`{
  document.getElementById('text').value = ${JSON.stringify(text)}
  document.getElementById('composer').requestSubmit()
}`)
const answerLength = () =>
  inPage(`document.querySelector('.assistant:last-child')?.textContent.length ?? 0`)
const isAnswering = () => inPage(`!document.getElementById('stop').hidden`)
const statusText = () => inPage(`document.getElementById('status').textContent`)
const choose = name =>
  inPage(`{
  const picker = document.getElementById('model')
  picker.value = ${JSON.stringify(name)}
  picker.dispatchEvent(new Event('change'))
}`)

async function picture(name) {
  await pause(300)
  const image = await page.capturePage()
  mkdirSync(pictures, { recursive: true })
  writeFileSync(join(pictures, `${name}.png`), image.toPNG())
}

async function streams() {
  await ask(wish)
  const lengths = new Set()
  await until('an answer', async () => {
    lengths.add(await answerLength())
    return lengths.size > 3
  })
  ok(true, `an answer comes piece by piece: ${[...lengths]} characters`)
  await until('the end of the answer', async () => !(await isAnswering()))
  ok(/^\d+ tokens$/.test(await statusText()), `it ends: ${await statusText()}`)
  await picture('2-answered')
}

async function stops() {
  await ask(wish)
  await until('an answer', async () => (await answerLength()) > 0)
  await inPage(`document.getElementById('stop').click()`)
  await until('the end of the answer', async () => !(await isAnswering()))
  const length = await answerLength()
  await picture('3-stopped')
  const rest = (await answerLength()) - length
  ok((await statusText()) === 'Stopped.' && rest === 0, `Stop stops it after ${length} characters`)
}

async function isConfined() {
  const has = names => inPage(`[${names}].map(x => typeof globalThis[x]).join()`)
  const nodes = `'process', 'require', 'module', 'Buffer', 'electron', 'ipcRenderer'`
  ok(/^undefined(,undefined)*$/.test(await has(nodes)), 'there is no Node in the page')
  const evaluated = await inPage(
    `(() => { try { return eval('1') } catch (e) { return e.name } })()`,
  )
  ok(evaluated === 'EvalError', 'it cannot evaluate text')
  const inline = await inPage(`{
    const script = document.createElement('script')
    script.textContent = 'window.inline = true'
    document.body.append(script)
    script.remove()
    typeof window.inline
  }`)
  ok(inline === 'undefined', 'nor run scripts of its markup')
  const reached = await inPage(`fetch('https://example.com').then(() => 'yes', e => e.name)`)
  ok(reached === 'TypeError', 'nor reach the network')
  ok((await inPage(`window.open('https://example.com') === null`)) === true, 'nor open a window')
  const outside = await inPage(`fetch('/%2e%2e/package.json').then(r => r.status, e => e.name)`)
  ok(outside === 'TypeError' || outside === 404, 'nor read files of the app')
}

async function comesBack() {
  let back = 0
  for (let round = 0; round < kills; round++) {
    await ready()
    await ask(wish)
    await until('an answer', async () => (await answerLength()) > 0)
    const { pid } = modelProcess()
    process.kill(pid, 'SIGKILL')
    await until('another process', () => modelProcess() && modelProcess().pid !== pid)
    await until('the page to notice', async () => !(await isAnswering()))
    await ready()
    back++
  }
  ok(back === kills, `the model came back after ${kills} kills amid answers`)
  await streams()
}

async function keepsItsMemory() {
  const megabytes = () => Math.round(modelProcess().memory.workingSetSize / 1024)
  await choose('openelm-nano')
  await pause(500)
  await ready()
  const before = megabytes()
  for (let round = 0; round < loads; round++) {
    await inPage(`document.getElementById('send').disabled = true`)
    await choose('openelm-nano')
    await ready()
    await ask(wish)
    await until('the end of an answer', async () => !(await isAnswering()))
  }
  const after = megabytes()
  ok(after < before + 60, `memory before and after ${loads} loads: ${before} and ${after} MB`)
}

async function pulls() {
  const hub = await MockHub.start({ teardown: stop => app.once('quit', stop) })
  const nano = join(__dirname, 'node_modules', 'openelm', 'models', 'openelm-nano')
  for (const name of readdirSync(nano)) hub.files.set(name, readFileSync(join(nano, name)))
  hub.faults.set('model.safetensors', { slowMs: 1 })
  process.env.HF_ENDPOINT = hub.endpoint
  page.reload()
  await pause(2000)
  await ready()
  await choose('apple/tiny')
  await until(
    'progress',
    async () => (await inPage(`document.getElementById('progress').value`)) > 0.3,
  )
  await picture('4-downloading')
  await ready()
  await ask(wish)
  await until('an answer', async () => (await answerLength()) > 20)
  ok(true, 'a model was downloaded, and answers')
  await picture('5-downloaded')
}

async function check() {
  const [window] = BrowserWindow.getAllWindows()
  page = window.webContents
  page.on('console-message', (_event, _level, message) => console.log(`# page: ${message}`))
  await ready()
  await picture('1-ready')
  for (const test of [streams, stops, isConfined, comesBack, keepsItsMemory, pulls]) await test()
}

require('./main.cjs')
app.whenReady().then(async () => {
  await until('a window', () => BrowserWindow.getAllWindows().length > 0)
  await check().catch(error => ok(false, error.stack))
  const { electron, chrome, node } = process.versions
  console.log(`# Electron ${electron}, Chrome ${chrome}, Node ${node}: ${failed} failed`)
  app.exit(failed > 0 ? 1 : 0)
})
