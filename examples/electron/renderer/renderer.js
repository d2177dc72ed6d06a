import { connect } from '/openelm/electron/index.js'
import { models } from './models.js'

const find = id => document.getElementById(id)
const [picker, messages, composer, text] = ['model', 'messages', 'composer', 'text'].map(find)
const [send, stop, status, progress] = ['send', 'stop', 'status', 'progress'].map(find)

let control // the port to the process of the model
let connection // to the model that is loaded
let chat // undefined while no model is loaded
let answering // an AbortController, while an answer comes

for (const { name, title } of models) picker.add(new Option(title, name))
picker.value = localStorage.getItem('model') ?? models[0].name
if (picker.selectedIndex < 0) picker.selectedIndex = 0

window.addEventListener('message', ({ source, data, ports }) => {
  if (source !== window || data !== 'port') return
  control?.close()
  control = ports[0]
  control.addEventListener('message', event => hear(event.data))
  control.start()
  load()
})

function load() {
  connection?.close()
  answering?.abort()
  send.disabled = true
  const { port1, port2 } = new MessageChannel()
  connection = connect(port1)
  chat = undefined
  control.postMessage({ load: picker.value }, [port2])
  status.textContent = 'Loading the model …'
}

async function hear({ load: name, progress: share, loaded, error }) {
  if (name !== picker.value) return
  progress.hidden = share === undefined
  if (share !== undefined) {
    progress.value = share
    status.textContent = `Downloading the model: ${Math.round(100 * share)}%`
  } else if (loaded) {
    localStorage.setItem('model', name)
    await begin()
  } else {
    status.textContent = error
  }
}

async function begin() {
  messages.replaceChildren()
  chat = await connection.createChat()
  status.textContent = 'Ready. Nothing that you write leaves this computer.'
  send.disabled = false
  text.focus()
}

async function answer(content) {
  addMessage('user', content)
  const bubble = addMessage('assistant', '')
  answering = new AbortController()
  showAnswering(true)
  const options = { maxTokens: 400, temperature: 0.8, topP: 0.95, signal: answering.signal }
  try {
    const stream = chat.stream(content, options)
    for await (const { text } of stream) append(bubble, text)
    const { usage } = await stream.result
    status.textContent = `${usage.completionTokens} tokens`
  } catch (error) {
    status.textContent = error.name === 'AbortError' ? 'Stopped.' : error.message
  } finally {
    answering = undefined
    showAnswering(false)
  }
}

function addMessage(role, content) {
  const bubble = document.createElement('p')
  bubble.className = role
  bubble.textContent = content
  messages.append(bubble)
  bubble.scrollIntoView({ block: 'end' })
  return bubble
}

function append(bubble, more) {
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40
  bubble.append(more)
  if (isAtEnd) messages.scrollTop = messages.scrollHeight
}

function showAnswering(isAnswering) {
  send.hidden = isAnswering
  stop.hidden = !isAnswering
}

composer.addEventListener('submit', event => {
  event.preventDefault()
  const content = text.value.trim()
  if (content === '' || answering || send.disabled) return
  text.value = ''
  void answer(content)
})
text.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  composer.requestSubmit()
})
stop.addEventListener('click', () => answering?.abort())
picker.addEventListener('change', load)
find('new').addEventListener('click', async () => {
  answering?.abort()
  await chat?.dispose()
  await begin()
})
