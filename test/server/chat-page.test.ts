/** The chat page in a browser: Chromium, where it and playwright-core of test/clients are installed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { importClient, skip as notInstalled } from '../ai-sdk/installed.js'
import { startServer } from '../helpers/server.js'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const skip =
  notInstalled || !existsSync(executablePath) ? 'it needs Chromium and test/clients' : false
/** Where pictures of the page are kept, for people to look at. */
const pictures = process.env.OPENELM_TEST_PICTURES

interface Route {
  request(): { postDataJSON(): object }
  continue(options: { postData: string }): Promise<void>
}

t.test('the page', { skip }, async t => {
  const { chromium } = (await importClient('playwright-core')).default
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  const { url, post } = await startServer(
    t,
    { modelId: 'openelm-nano', apiKey: 'secret' },
    OpenELM.load('openelm-nano', { contextLength: 100_000 }),
  )

  /** A page, and what it complained of. */
  async function open(width: number, colorScheme = 'light') {
    const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme })
    const complaints: string[] = []
    page.on('console', (message: { type(): string; text(): string }) => {
      if (message.type() === 'error' && !message.text().includes('401'))
        complaints.push(message.text())
    })
    page.on('pageerror', (error: Error) => complaints.push(error.message))
    await page.goto(url)
    return { page, complaints }
  }

  const isInside = (page: { evaluate(script: string): Promise<boolean> }) =>
    page.evaluate(
      `[...document.querySelectorAll('*')].every(element => {
        const { right } = element.getBoundingClientRect()
        return !element.checkVisibility() || right <= document.documentElement.clientWidth
      })`,
    )

  const answers = '.assistant:not(.waiting)'

  for (const width of [400, 1200]) {
    t.test(`sends, streams and stops, by keys alone, ${width} pixels wide`, async t => {
      const { page, complaints } = await open(width, width === 400 ? 'dark' : 'light')
      const { keyboard } = page
      const picture = async (name: string) => {
        if (pictures) await page.screenshot({ path: join(pictures, `${name}-${width}.png`) })
      }
      // Without the key it says so, and shows where it goes.
      await page.waitForSelector('#status.bad')
      await page.waitForSelector('#key:focus, #key:visible')
      await picture('key')
      t.ok(await isInside(page), 'nothing is wider than the page')
      await page.focus('#key')
      await keyboard.type('secret')
      await keyboard.press('Tab')
      await page.waitForSelector('#model:text("openelm-nano")')
      await page.focus('summary')
      await keyboard.press('Enter')
      t.notOk(await page.isVisible('#key'))

      await page.focus('#message')
      await keyboard.type('It was a fine evening')
      await keyboard.press('Shift+Enter')
      await keyboard.type('<b>and</b>')
      await keyboard.press('Enter')
      await page.waitForSelector('.assistant:not(:empty)')
      await picture('streaming')
      await page.waitForSelector(answers)
      t.equal(
        await page.textContent('.user'),
        'It was a fine evening\n<b>and</b>',
        'as it was written',
      )
      t.equal(await page.locator('.user b').count(), 0)

      // An answer that would take minutes, which Escape stops; what came stays.
      await page.route('**/completions', (route: Route) => {
        const endless = { ...route.request().postDataJSON(), ignore_eos: true, max_tokens: 90_000 }
        return route.continue({ postData: JSON.stringify(endless) })
      })
      await page.fill('#message', 'And then?')
      await keyboard.press('Enter')
      await page.waitForSelector('.assistant:not(:empty) >> nth=1')
      t.ok(await page.isVisible('#stop'))
      t.notOk(await page.isVisible('#send'))
      await keyboard.press('Escape')
      await page.waitForSelector('.waiting', { state: 'detached' })
      t.ok(await page.isVisible('#send'))
      t.equal(await page.locator('.assistant').count(), 2)
      await page.fill('#message', 'Say no more.')
      await picture('conversation')
      t.ok(await isInside(page), 'nothing is wider than the page')

      await keyboard.press('Tab')
      t.equal(await page.evaluate('document.activeElement.id'), 'send')
      await page.focus('#new')
      await keyboard.press('Enter')
      t.equal(await page.locator('.message').count(), 0)
      t.same(complaints, [])
      await page.close()
    })
  }

  t.test('the second turn has the first before it', async t => {
    const { page, complaints } = await open(800)
    const bodies: { messages: { role: string; content: string }[] }[] = []
    page.on('request', (request: { url(): string; postDataJSON(): never }) => {
      if (request.url().endsWith('/completions')) bodies.push(request.postDataJSON())
    })
    await page.fill('#key', 'secret')
    await page.fill('#system', 'Be brief.')
    await page.fill('#max-tokens', '12')
    for (const [i, text] of ['Who was she?', 'And he?'].entries()) {
      await page.fill('#message', text)
      await page.click('#send')
      await page.waitForSelector(`${answers} >> nth=${i}`)
    }
    t.same(
      bodies[1]!.messages.map(({ role }) => role),
      ['system', 'user', 'assistant', 'user'],
    )
    const shown = await page.locator('.assistant').first().textContent()
    t.equal(bodies[1]!.messages[2]!.content, shown)
    t.same(complaints, [])

    // A message that cannot be answered goes back to where it was written.
    await page.fill('#message', 'very '.repeat(101_000))
    await page.click('#send')
    await page.waitForSelector('#status.bad')
    t.match(await page.textContent('#status'), /context/)
    t.equal(await page.locator('.message').count(), 4)
    t.ok((await page.inputValue('#message')).startsWith('very very'))
    await page.close()
  })

  t.test('nothing of another place runs on it', async t => {
    const response = await fetch(url)
    const policy = response.headers.get('content-security-policy')!
    t.match(policy, "default-src 'none'")
    t.notMatch(policy, /unsafe|\*|https?:/)
    const html = await response.text()
    t.notMatch(html, /https?:|<script>|<style|\son\w+=|style=/)
    const { page } = await open(800)
    const ran = await page.evaluate(`
      const script = document.createElement('script')
      script.textContent = 'window.ran = true'
      document.body.append(script)
      'ran' in window
    `)
    t.notOk(ran)
    await page.close()
    t.equal((await post('/', {})).status, 405)
  })
})
