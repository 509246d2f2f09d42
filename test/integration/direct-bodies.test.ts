import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { copyCertificate } from '../support/certificate-files.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { readMemory } from '../support/process-status.ts';
import { authorized, connectClient, exchange, type RawClient } from '../support/raw-client.ts';
import { unlessPossible } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const MiB = 1024 * 1024;
const get = authorized('GET /v2/app/blobs/x');

const schemes = ['http', 'https'] as const;
/** Smaller bodies do not pay for the connection to upstream, or over https the handshake, that they cost. */
const leastBytes = { http: MiB, https: 8 * MiB };

type Scripted = {
  readonly upstream: ScriptedUpstream;
  readonly frontDoor: FrontDoor;
  close(): Promise<void>;
};

async function startBoth(
  scheme: (typeof schemes)[number],
  options: Parameters<typeof startUpstream>[0] = {},
): Promise<Scripted> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
  const certs = path.join(dir, 'up');
  const read = (name: string) => readFile(path.join(certs, name), 'utf8');
  if (scheme === 'https') await copyCertificate(certs, ['localhost']);
  const tls =
    scheme === 'https' ? { tls: { cert: await read('server.crt'), key: await read('server.key') } } : {};
  const upstream = await startUpstream({ ...options, ...tls });
  const set = scheme === 'https' ? [`upstream.ca=${certs}/ca.crt`] : [];
  const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set });
  const close = async () => {
    await frontDoor.stop();
    await upstream.close();
    await rm(dir, { recursive: true });
  };
  return { upstream, frontDoor, close };
}

/** Large bodies whose length is known go from socket to socket; upstream's connection ends with them. */
for (const scheme of schemes)
  describe(`bodies over ${scheme} that do not pass the parser`, { timeout: 360_000 }, () => {
    const least = leastBytes[scheme];
    let both: Scripted;
    let upstream: ScriptedUpstream;
    let frontDoor: FrontDoor;
    before(async () => {
      both = await startBoth(scheme);
      ({ upstream, frontDoor } = both);
    });
    after(() => both.close());
    const answerWith = (request: UpstreamRequest, body: Buffer, ...lines: string[]) =>
      request.answer(head('HTTP/1.1 200 OK', ...lines), body);

    for (const [what, size, lines, isDirect] of [
      ['the least size', least, [`Content-Length: ${least}`], true],
      ['a byte less', least - 1, [`Content-Length: ${least - 1}`], false],
      ['twice that', 2 * least, [`Content-Length: ${2 * least}`], true],
    ] as const) {
      test(`${what}: ${isDirect ? 'a new' : 'the same'} connection for the next request`, async () => {
        const client = await connectClient(frontDoor);
        client.send(get);
        const first = await upstream.next();
        const body = Buffer.alloc(size, 'a');
        answerWith(first, body, ...lines);
        assert.ok((await client.response()).body.equals(body));
        if (isDirect) await first.closed;
        client.send(get);
        const second = await upstream.next();
        assert.equal(second.connection === first.connection, !isDirect);
        answerWith(second, Buffer.from('ok'), 'Content-Length: 2');
        assert.equal((await client.response()).body.toString(), 'ok');
        client.leave();
        second.socket.end();
        await second.closed;
      });
    }

    for (const [what, start, lines] of [
      ['206', 'HTTP/1.1 206 Partial Content', [`Content-Range: bytes 0-${least - 1}/*`]],
      ['HTTP/1.0', 'HTTP/1.0 200 OK', []],
      ['after 103', 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK', []],
    ] as const) {
      test(`${what}: byte for byte, the head in pieces`, async () => {
        const client = await connectClient(frontDoor);
        client.send(get);
        const request = await upstream.next();
        const body = Buffer.alloc(least, 'abcdefg');
        const all = Buffer.concat([Buffer.from(head(start, ...lines, `Content-Length: ${least}`)), body]);
        request.socket.setNoDelay();
        for (const byte of all.subarray(0, 200)) request.socket.write(Buffer.from([byte]));
        request.socket.write(all.subarray(200));
        const response = await client.response();
        assert.ok(response.body.equals(body));
        await request.closed;
        client.leave();
      });
    }

    test('in pieces of all sizes, with pauses: byte for byte', async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      const body = randomBytes(2 * least + 12_345);
      request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`));
      const response = client.response();
      let size = 1;
      for (let at = 0; at < body.length; at += size) {
        size = at % 3 === 0 ? 1 + (at % 1000) : 1 + (at % 300_000);
        if (!request.socket.write(body.subarray(at, at + size))) await once(request.socket, 'drain');
        await nextTurn();
      }
      assert.ok((await response).body.equals(body));
      await request.closed;
      client.leave();
    });

    for (const extra of ['x', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged', 'y'.repeat(MiB)]) {
      test(`${extra.length} bytes more than announced: nobody gets them`, async () => {
        const client = await connectClient(frontDoor);
        client.send(get);
        const request = await upstream.next();
        answerWith(
          request,
          Buffer.concat([Buffer.alloc(least, 'a'), Buffer.from(extra)]),
          `Content-Length: ${least}`,
        );
        const response = await client.response();
        assert.ok(response.body.equals(Buffer.alloc(least, 'a')));
        await request.closed;
        client.send(get);
        answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
        assert.equal((await client.response()).body.toString(), 'ok');
        client.leave();
      });
    }

    test('bytes on a connection that waits for a request end it: nobody gets them', async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      answerWith(request, Buffer.from('ok'), 'Content-Length: 2');
      assert.equal((await client.response()).body.toString(), 'ok');
      request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'forged');
      await request.closed;
      client.send(get);
      answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
      assert.equal((await client.response()).body.toString(), 'ok');
      client.leave();
    });

    for (const how of ['FIN', 'RST'] as const) {
      test(`${how} in the middle: the client is cut off`, async () => {
        const client = await connectClient(frontDoor);
        client.send(get);
        const request = await upstream.next();
        answerWith(request, Buffer.alloc(MiB), `Content-Length: ${3 * least}`);
        await client.responseHead();
        assert.equal(await client.reader.discard(MiB), MiB);
        if (how === 'FIN') request.socket.end();
        else if (scheme === 'http') request.socket.resetAndDestroy();
        else request.socket.destroy(); // without TLS's own end
        assert.equal((await client.rest()).length, 0);
        await frontDoor.logged(({ reason }) => reason === 'upstream-broke');
      });
    }

    test('upstream closes right behind the last byte: a clean end for a client that reads late', async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      answerWith(request, Buffer.alloc(16 * MiB, 'z'), `Content-Length: ${16 * MiB}`, 'Connection: close');
      request.socket.end();
      await client.responseHead();
      assert.equal(await client.reader.discard(16 * MiB), 16 * MiB);
      client.send(get);
      answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
      assert.equal((await client.response()).body.toString(), 'ok');
      client.leave();
    });

    test('a client that leaves in the middle: upstream sees the end', async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      answerWith(request, Buffer.alloc(least), `Content-Length: ${64 * least}`);
      await client.responseHead();
      await client.reader.discard(MiB);
      client.leave();
      await request.closed;
    });

    test('the log has the bytes that were passed on', async () => {
      const asked = exchange(frontDoor, authorized('GET /v2/app/blobs/counted'));
      answerWith(await upstream.next(), Buffer.alloc(3 * least), `Content-Length: ${3 * least}`);
      await asked;
      const line = await frontDoor.logged(({ path }) => path === '/v2/app/blobs/counted');
      assert.equal(line['bytesOut'], 3 * least);
    });
  });

for (const scheme of schemes)
  test(
    `100 clients that do not read a body over ${scheme}: little memory each`,
    { timeout: 360_000, skip: unlessPossible(process.platform === 'linux', 'reads /proc') },
    async (t) => {
      const piece = Buffer.alloc(MiB);
      let sentBytes = 0;
      const both = await startBoth(scheme, {
        script: async (request) => {
          const { socket } = request;
          request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${512 * MiB}`));
          while (!socket.destroyed) {
            sentBytes += piece.length;
            if (!socket.write(piece)) await once(socket, 'drain').catch(() => {});
          }
        },
      });
      const { upstream, frontDoor } = both;
      const clients: RawClient[] = [];
      try {
        const start = await readMemory(frontDoor.pid);
        for (let i = 0; i < 100; i++) {
          const client = await connectClient(frontDoor);
          clients.push(client);
          client.send(get);
          await client.responseHead();
        }
        let before = -1;
        while (before !== sentBytes) {
          before = sentBytes;
          await delay(500);
        }
        const stalled = await readMemory(frontDoor.pid);
        t.diagnostic(`RSS before ${start.nowBytes}, stalled ${stalled.nowBytes} bytes`);
        assert.ok(stalled.nowBytes - start.nowBytes < 150 * MiB);
      } finally {
        for (const client of clients) client.leave();
      }
      await upstream.idle();
      await both.close();
    },
  );
