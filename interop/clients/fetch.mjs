// Node's fetch (undici) against a gateway: plain uses, which must all pass. GATEHOUSE_URL says where.
import { gzipSync } from 'node:zlib'

const base = process.env.GATEHOUSE_URL
let wrong = 0

async function use (name, target, options, check) {
  const response = await fetch(base + target, options)
  const body = await response.text()
  let good = false
  try { good = response.ok && check(body, response) } catch {}
  if (!good) {
    wrong++
    console.log(`${name}: ${response.status} ${body.slice(0, 300)}`)
  }
}
const seen = (name, value) => body => JSON.parse(body)[name] === value
const json = { 'Content-Type': 'application/json' }

await use('GET', '/notes?' + new URLSearchParams({ q: 'Zoë & co; 100% [x] {y} | ^' }), {}, seen('Method', 'GET'))
await use('GET, what a URL leaves raw', "/notes?q=a|b^c{d}[e]`f'g(h)!*~", {}, seen('Target', '/notes?q=a%7Cb%5Ec%7Bd%7D%5Be%5D%60f%27g%28h%29%21%2A~'))
await use('GET, a path with what a URL leaves raw', "/notes/a|b[c]'d(e)!*~$&+,=:@", {}, seen('Method', 'GET'))
await use('GET, a path in UTF-8', '/notes/' + encodeURIComponent('Zoë'), {}, seen('Target', '/notes/Zo%C3%AB'))
await use('POST', '/notes', { method: 'POST', headers: json, body: JSON.stringify({ text: 'Zoë', n: 2 }) }, seen('Length', Buffer.byteLength('{"text":"Zoë","n":2}')))
await use('POST of a stream', '/notes', { method: 'POST', headers: json, duplex: 'half', body: new Blob(['{"text":"streamed"}']).stream() }, seen('Body', '{"text":"streamed"}'))
await use('POST of gzip', '/notes', { method: 'POST', headers: { ...json, 'Content-Encoding': 'gzip' }, body: gzipSync('{"text":"z"}') }, seen('Body', '{"text":"z"}'))
await use('PUT of a form', '/notes', { method: 'PUT', body: new URLSearchParams({ text: 'a b', n: 'c&d' }) }, seen('Method', 'PUT'))
const form = new FormData()
form.set('title', 'Zoë')
form.set('file', new Blob(['not really a picture'], { type: 'text/plain' }), 'picture.txt')
await use('POST of FormData', '/pictures', { method: 'POST', body: form }, body => JSON.parse(body).Body.includes('not really a picture'))
await use('DELETE', '/notes', { method: 'DELETE' }, seen('Method', 'DELETE'))
await use('HEAD', '/file', { method: 'HEAD' }, (body, response) => body === '' && response.headers.get('content-type') === 'text/plain')
await use('gzip in the answer', '/file', {}, body => body.length === 131072)
await use('range', '/file', { headers: { Range: 'bytes=0-15' } }, (body, response) => response.status === 206 && body === '0123456789abcdef')
await use('cookies', '/notes', { headers: { Cookie: 'a=1; b=2' } }, seen('Cookie', 'a=1; b=2'))
await Promise.all(Array.from({ length: 20 }, (_, i) => use(`at once ${i}`, `/notes?q=${i}`, {}, seen('Target', `/notes?q=${i}`))))

if (wrong === 0) console.log('all good')
