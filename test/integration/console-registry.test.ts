import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createBrowser, sessionCookie, type Browser } from '../support/browser.ts';
import { startFrontDoor, user, type FrontDoor, type LogLine } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, connectClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const maxPageBytes = 30 * 1024;

describe('what pages of the console ask of the registry', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let browser: Browser;
  before(async () => {
    upstream = await startUpstream({});
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['state.usage=false'] });
    browser = createBrowser(frontDoor);
    await browser.logIn();
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('is forwarded as from a client, and has no line of its own', async () => {
    const lines = frontDoor.log.length;
    const page = browser.get('/ui/r/app', 'X-Forwarded-For: 192.0.2.7', 'X-Mine: x');
    const request = await upstream.next();
    assert.deepEqual(values(request, 'cookie'), []);
    assert.deepEqual(values(request, 'x-mine'), []);
    assert.deepEqual(values(request, 'x-forwarded-for'), ['127.0.0.1']);
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), '{}');
    assert.equal((await page).status, 200);
    const line = await frontDoor.logged(
      (entry) => frontDoor.log.indexOf(entry) >= lines && entry['path'] === '/ui/r/app',
    );
    assert.deepEqual([line['user'], line['route'], line['status']], [user, 'console', 200]);
    const isInner = (entry: LogLine) => String(entry['path']).startsWith('/v2/');
    assert.deepEqual(frontDoor.log.filter(isInner), []);
  });

  test('100 MiB of an answer are not read, whether it says its length or not', async () => {
    const part = Buffer.alloc(1024 * 1024);
    for (const framing of ['Content-Length: 104857600', 'Connection: close']) {
      const page = browser.get('/ui/r/app');
      const request = await upstream.next();
      request.socket.on('error', () => {});
      request.answer(head('HTTP/1.1 200 OK', framing));
      for (let sent = 0; sent < 100 && request.socket.writable; sent += 1)
        if (!request.socket.write(part))
          await Promise.race([
            request.closed,
            new Promise((resolve) => request.socket.once('drain', resolve)),
          ]);
      await request.closed;
      assert.ok(request.socket.bytesWritten < 30 * part.length, String(request.socket.bytesWritten));
      assert.equal((await page).status, 502);
    }
  });

  test('ends when its visitor leaves', async () => {
    const client = await connectClient(frontDoor);
    client.send(
      anonymous('GET /ui/r/app', `Cookie: ${sessionCookie}=${browser.cookies.get(sessionCookie) ?? ''}`),
    );
    const request = await upstream.next();
    client.leave();
    await request.closed;
  });

  test('a page says what the registry refuses', async () => {
    for (const [answer, status] of [
      ['500 Internal Server Error', 502],
      ['503 Service Unavailable', 503],
      ['429 Too Many Requests', 503],
      ['403 Forbidden', 403],
      ['404 Not Found', 404],
    ] as const) {
      const page = browser.get('/ui/r/app');
      const request = await upstream.next();
      request.answer(head(`HTTP/1.1 ${answer}`, 'Content-Length: 2'), '{}');
      assert.equal((await page).status, status, answer);
    }
  });

  test('a page says so when the registry is away', async () => {
    const away = await startFrontDoor({ upstreamUrl: 'http://127.0.0.1:9', set: ['state.usage=false'] });
    try {
      const there = createBrowser(away);
      await there.logIn();
      for (const path of ['/ui/', '/ui/r/app', '/ui/r/app/-/i/1', '/ui/r/app/-/compare?a=1&b=2']) {
        const { status, body } = await there.get(path);
        assert.equal(status, 504, path);
        assert.match(body.toString(), /The registry does not answer/);
      }
      assert.equal((await there.get('/ui/account')).status, 200);
    } finally {
      await away.stop();
    }
  });

  test('a page writes back little of what it cannot use', async () => {
    const many = '"'.repeat(4000);
    const refused = await createBrowser(frontDoor).logIn(many, 'not it at all');
    assert.equal(refused.status, 403);
    assert.ok(refused.body.length <= maxPageBytes, String(refused.body.length));
    const page = browser.get(`/ui/r/app/-/compare?a=${encodeURIComponent(many)}&b=1`);
    (await upstream.next()).answer(head('HTTP/1.1 200 OK', 'Content-Length: 12'), '{"tags":[1]}');
    (await upstream.next()).answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 2'), '{}');
    const { body } = await page;
    assert.ok(body.length <= maxPageBytes, String(body.length));
  });

  test('who has not logged in is asked to where the policy lets others in', async () => {
    const config = `policy:
  - { who: [anonymous], repositories: ['open/**'], actions: [pull] }
  - { who: [authenticated], repositories: ['**'], actions: [pull] }
`;
    const open = await startFrontDoor({ upstreamUrl: upstream.url, config, set: ['state.usage=false'] });
    try {
      const there = createBrowser(open);
      for (const path of ['/ui/r/closed/app', '/ui/account']) {
        const { status, headers } = await there.get(path);
        assert.equal(status, 303, path);
        assert.match(String(headers), /\/ui\/login\?to=/);
      }
      const page = there.get('/ui/r/open/app');
      (await upstream.next()).answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), '{}');
      assert.equal((await page).status, 200);
    } finally {
      await open.stop();
    }
  });

  test('a page says so when the registry breaks off', async () => {
    const page = browser.get('/ui/r/app');
    const request = await upstream.next();
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 10'), 'half');
    request.socket.destroy();
    const { status, headers, body } = await page;
    assert.equal(status, 502);
    assert.match(String(headers), /text\/html/);
    const line = await frontDoor.logged(({ status: logged }) => logged === 502);
    assert.equal(typeof line['requestId'], 'string');
    assert.match(body.toString(), /<code>[0-9a-f]{32}<\/code>/);
  });
});
