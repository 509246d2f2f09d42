import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createInnerRegistry } from '../../../../src/console/registry/inner-registry.ts';
import type { Exchange } from '../../../../src/pipeline/exchange.ts';

const authentication = {
  principal: { kind: 'user', name: 'alice' },
  isAnonymous: false,
  keepAuthorization: false,
  scopes: null,
} as const;

/** A page of a visitor who can leave. */
function visit() {
  const res = Object.assign(new EventEmitter(), { closed: false });
  const exchange = {
    res,
    id: 'page',
    clientAddress: '192.0.2.1',
    publicName: { scheme: 'https', authority: 'registry.example', isTold: false },
  } as unknown as Exchange;
  const leave = () => {
    res.closed = true;
    res.emit('close');
  };
  return { exchange, authentication, leave };
}

const open = (options: Partial<Parameters<typeof createInnerRegistry>[0]> = {}) =>
  createInnerRegistry({
    maxAtOnce: 4,
    maxBytes: 32 * 1024 * 1024,
    timeoutMs: 60_000,
    now: () => performance.now(),
    ...options,
  });

/** Writes a body as transfers do: into one buffer, again when the write has ended. */
async function sendReused(res: Exchange['res'], total: number, onBytes: (bytes: number) => void) {
  const buffer = Buffer.alloc(256 * 1024);
  for (let sent = 0; sent < total; sent += buffer.length) {
    buffer.fill((sent / buffer.length) % 251);
    await new Promise<void>((resolve) => {
      res.once('close', resolve);
      res.write(buffer, () => {
        res.off('close', resolve);
        resolve();
      });
    });
    if (res.destroyed) return;
    onBytes(buffer.length);
    buffer.fill(255);
  }
  res.end();
}

describe('the inner registry', () => {
  it('gives answers as clients get them, to the principal of the page', async () => {
    const page = visit();
    const client = open().open({
      ...page,
      answerAs: ({ req, res, clientAddress, method, rawTarget }, { principal }) => {
        res.writeHead(206, { 'X-Seen': [method, rawTarget, clientAddress, req.headers.accept].join(' ') });
        res.end(JSON.stringify(principal));
        return Promise.resolve();
      },
    });
    const answer = await client.ask('GET', '/v2/app/manifests/1', { accept: ['a/b', 'c/d'] });
    assert.equal(answer.status, 206);
    assert.equal(answer.headers['x-seen'], 'GET /v2/app/manifests/1 192.0.2.1 a/b, c/d');
    assert.deepEqual(JSON.parse(answer.body.toString()), authentication.principal);
    const head = await client.ask('HEAD', '/v2/app/manifests/1');
    assert.equal(head.body.length, 0);
    for (const path of ['/ui/', '/v2/../x', 'v2/', '/v2/a b', '/v2//x'])
      await assert.rejects(client.ask('GET', path), { kind: 'badRequest' }, path);
  });

  it('takes a body whole whose memory is used again, and of one of 100 MiB no more than streams hold', async () => {
    let bodyBytes = 15 * 1024 * 1024;
    let written = 0;
    const client = open().open({
      ...visit(),
      answerAs: ({ res }) => sendReused(res, bodyBytes, (bytes) => (written += bytes)),
    });
    const { body } = await client.ask('GET', '/v2/app/blobs/x', { maxBytes: bodyBytes });
    assert.equal(body.length, bodyBytes);
    const expected = createHash('sha256');
    for (let part = 0; part * 256 * 1024 < bodyBytes; part += 1)
      expected.update(Buffer.alloc(256 * 1024, part % 251));
    assert.equal(createHash('sha256').update(body).digest('hex'), expected.digest('hex'));
    bodyBytes = 100 * 1024 * 1024;
    written = 0;
    await assert.rejects(client.ask('GET', '/v2/app/blobs/x', { maxBytes: 1024 * 1024 }), {
      kind: 'registryFailed',
    });
    await nextTurn();
    assert.ok(written <= 3 * 1024 * 1024, String(written));
  });

  it('bounds the bytes of a page, and those of all pages until they have ended', async () => {
    const registry = open();
    const partBytes = 4 * 1024 * 1024;
    const openPage = () => {
      const page = visit();
      const client = registry.open({ ...page, answerAs: ({ res }) => sendReused(res, partBytes, () => {}) });
      const read = async (times: number) => {
        for (let time = 0; time < times; time += 1) await client.ask('GET', '/v2/app/blobs/x');
      };
      return { ...page, read };
    };
    const pages = [openPage(), openPage(), openPage()] as const;
    await pages[0].read(4);
    await assert.rejects(pages[0].read(1), { kind: 'tooMuch' });
    await pages[1].read(3);
    await assert.rejects(pages[2].read(2), { kind: 'busy' });
    pages[0].leave();
    await pages[2].read(2);
  });

  it('ends its requests when the visitor leaves, and when the page took too long', async () => {
    for (const [timeoutMs, kind] of [
      [60_000, 'internal'],
      [1, 'registryDown'],
    ] as const) {
      const page = visit();
      const asked = new EventEmitter();
      const client = open({ timeoutMs }).open({
        ...page,
        answerAs: async ({ res }) => {
          const closed = once(res, 'close');
          res.writeHead(200);
          res.write('begun');
          if (timeoutMs > 1) setImmediate(page.leave);
          await closed;
          asked.emit('closed');
        },
      });
      const closed = once(asked, 'closed');
      await assert.rejects(client.ask('GET', '/v2/app/tags/list'), { kind });
      if (timeoutMs > 1) await closed;
    }
  });

  it('asks nothing for a visitor who left before', async () => {
    const page = visit();
    page.leave();
    let asked = 0;
    const client = open().open({
      ...page,
      answerAs: ({ res }) => {
        asked += 1;
        res.end();
        return Promise.resolve();
      },
    });
    await assert.rejects(client.ask('DELETE', '/v2/app/manifests/1'), { reason: 'client-left' });
    assert.equal(asked, 0);
  });

  it('bounds the requests at once, those that wait, and those of a page', async () => {
    const registry = open({ maxAtOnce: 1 });
    const waiting: (() => void)[] = [];
    let atOnce = 0;
    let most = 0;
    const answerAs = async ({ res }: Exchange) => {
      most = Math.max(most, (atOnce += 1));
      await new Promise<void>((resolve) => waiting.push(resolve));
      atOnce -= 1;
      res.end('x');
    };
    const pages = [visit(), visit()];
    const [one, other] = pages.map((page) => registry.open({ ...page, answerAs }));
    assert.ok(one && other);
    const asked = Array.from({ length: 17 }, () => one.ask('GET', '/v2/app/tags/list'));
    await assert.rejects(other.ask('GET', '/v2/app/tags/list'), { kind: 'busy' });
    let answered = 0;
    const all = Promise.all(asked.map((each) => each.then(() => (answered += 1))));
    while (answered < asked.length) {
      waiting.shift()?.();
      await nextTurn();
    }
    await all;
    assert.equal(most, 1);
    const quick = open().open({
      ...visit(),
      answerAs: ({ res }) => {
        res.end();
        return Promise.resolve();
      },
    });
    for (let times = 0; times < 200; times += 1) await quick.ask('GET', '/v2/app/tags/list');
    await assert.rejects(quick.ask('GET', '/v2/app/tags/list'), { kind: 'tooMuch' });
  });

  it('tells of an answer that breaks off', async () => {
    const client = open().open({
      ...visit(),
      answerAs: ({ res }) => {
        res.writeHead(200, { 'Content-Length': 10 });
        res.write('half', () => res.destroy());
        return Promise.resolve();
      },
    });
    await assert.rejects(client.ask('GET', '/v2/app/tags/list'), { kind: 'registryFailed' });
  });
});
