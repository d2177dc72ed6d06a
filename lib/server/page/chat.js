/** The chat page: asks the server that it came from, and shows answers as they come, as text. */
const find = id => document.getElementById(id)
const message = find('message')
const messages = find('messages')
const status = find('status')

/** What was said; an answer that was stopped stays as far as it came. */
let conversation = []
/** Stops the answer that is coming. */
let answering

function headers() {
  const key = find('key').value.trim()
  return {
    'content-type': 'application/json',
    ...(key !== '' && { authorization: `Bearer ${key}` }),
  }
}

function show(text, { isBad = false } = {}) {
  status.textContent = text
  status.classList.toggle('bad', isBad)
}

/** Adds a message to the page, and returns its element. */
function add(role, text) {
  const element = document.createElement('div')
  element.className = `message ${role}`
  element.textContent = text
  const who = document.createElement('span')
  who.className = 'hidden'
  who.textContent = role === 'user' ? 'You: ' : 'Model: '
  messages.append(who, element)
  messages.scrollTop = messages.scrollHeight
  return element
}

function setAnswering(controller) {
  // The focus of a button that is hidden would be lost.
  const hadFocus = document.activeElement === find('stop')
  answering = controller
  find('send').hidden = controller !== undefined
  find('stop').hidden = controller === undefined
  if (hadFocus) message.focus()
}

/** The server's sentence on what was wrong. */
async function errorOf(response) {
  const { error } = await response.json().catch(() => ({}))
  if (response.status === 401) find('settings').closest('details').open = true
  return new Error(error?.message ?? `${response.status} ${response.statusText}`)
}

/** The data of server-sent events, as they come. */
async function* eventsOf(response) {
  let rest = ''
  for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await reader.read()
    if (done) return
    const events = (rest + value).split('\n\n')
    rest = events.pop()
    for (const event of events) if (event.startsWith('data: ')) yield event.slice(6)
  }
}

async function request(signal) {
  const system = find('system').value.trim()
  return fetch('v1/chat/completions', {
    method: 'POST',
    headers: headers(),
    signal,
    body: JSON.stringify({
      messages: [...(system === '' ? [] : [{ role: 'system', content: system }]), ...conversation],
      temperature: find('temperature').valueAsNumber,
      max_tokens: find('max-tokens').valueAsNumber,
      stream: true,
    }),
  })
}

async function answer() {
  const controller = new AbortController()
  setAnswering(controller)
  show('')
  const element = add('assistant', '')
  element.classList.add('waiting')
  let text = ''
  let frame
  const draw = () => {
    const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40
    element.textContent = text
    if (isAtEnd) messages.scrollTop = messages.scrollHeight
    frame = undefined
  }
  try {
    const response = await request(controller.signal)
    if (!response.ok) throw await errorOf(response)
    for await (const data of eventsOf(response)) {
      if (data === '[DONE]') break
      const { error, choices } = JSON.parse(data)
      if (error) throw new Error(error.message)
      text += choices[0]?.delta.content ?? ''
      // Tokens may come faster than a screen shows them.
      frame ??= requestAnimationFrame(draw)
    }
    show('')
  } catch (error) {
    const isStopped = error.name === 'AbortError'
    show(isStopped ? 'Stopped.' : error.message, { isBad: !isStopped })
  } finally {
    cancelAnimationFrame(frame)
    draw()
    element.classList.remove('waiting')
    // Another chat may have begun meanwhile.
    if (answering === controller) {
      setAnswering(undefined)
      end(element, text)
    }
  }
}

/** Keeps what was answered; a message that got no answer goes back to where it was written. */
function end(element, text) {
  if (text !== '') return conversation.push({ role: 'assistant', content: text })
  const { content } = conversation.pop()
  for (const shown of [element, element.previousSibling]) shown.remove()
  for (const shown of [messages.lastChild, messages.lastChild.previousSibling]) shown.remove()
  if (message.value === '') message.value = content
  fit()
}

function fit() {
  message.style.height = 'auto'
  message.style.height = `${message.scrollHeight + 2}px`
}

function send() {
  const content = message.value.trim()
  if (content === '' || answering) return
  message.value = ''
  fit()
  conversation.push({ role: 'user', content })
  add('user', content)
  void answer()
}

find('composer').addEventListener('submit', event => {
  event.preventDefault()
  send()
})
find('settings').addEventListener('submit', event => event.preventDefault())
message.addEventListener('input', fit)
message.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  send()
})
document.addEventListener('keydown', event => {
  if (event.key === 'Escape') answering?.abort()
})
find('stop').addEventListener('click', () => answering?.abort())
find('new').addEventListener('click', () => {
  const before = answering
  setAnswering(undefined)
  before?.abort()
  conversation = []
  messages.replaceChildren()
  show('')
  message.focus()
})

/** The model's name, once it is loaded. */
async function showModel() {
  const response = await fetch('v1/models', { headers: headers() }).catch(() => undefined)
  if (response?.ok) {
    const { data } = await response.json()
    find('model').textContent = data[0].id
    return show('')
  }
  if (!response) show('The server does not answer.', { isBad: true })
  else if (response.status === 401) {
    const { message } = await errorOf(response)
    return show(message, { isBad: true })
  } else show('The model is being loaded …')
  setTimeout(showModel, 1000)
}

find('key').addEventListener('change', showModel)
message.focus()
void showModel()
