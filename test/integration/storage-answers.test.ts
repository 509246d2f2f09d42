import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createByteReader } from '../support/byte-reader.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { fields, head, readBody, readHead, type Message } from '../support/http-message.ts';
import { authorized, connectClient, exchange } from '../support/raw-client.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { pushBlob } from '../support/stored-blobs.ts';

const repository = 'team/app.x_y__z-0';
const size = 1_234_567;
const longAgo = 'Sat, 01 Jan 2000 00:00:00 GMT';

/** Who sends the body: Tidegate from the registry's files, or the registry. */
type Sender = 'storage' | 'registry';

describe(
  'a blob from the files is answered as the registry answers it',
  { skip: unlessInstalled('docker-registry'), timeout: 360_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let digest: string;
    let emptyDigest: string;
    before(async () => {
      registry = await startRegistry({
        headers: {
          'X-Content-Type-Options': ['nosniff'],
          'X-Site': ['a', 'b; "c"'],
          'cache-Control': ['private'],
        },
      });
      digest = await pushBlob(registry.url, repository, randomBytes(size));
      emptyDigest = await pushBlob(registry.url, repository, Buffer.alloc(0));
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        set: [`upstream.storage=${registry.storageDir}`],
      });
    });
    after(async () => {
      await frontDoor.stop();
      await registry.stop();
    });

    const askRegistry = async (requestLine: string, lines: readonly string[]) => {
      const { hostname, port } = new URL(registry.url);
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      const reader = createByteReader(socket);
      socket.write(head(`${requestLine} HTTP/1.1`, 'Host: registry.example:8443', ...lines));
      const received = (await readHead(reader)) ?? assert.fail('no answer');
      const message = { ...received, ...(await readBody(reader, received, requestLine.split(' ')[0])) };
      socket.destroy();
      return message;
    };

    /** What must be equal: all but the time, the connection's own fields, and the boundary that each multipart answer makes up. */
    const comparable = (message: Message) => {
      const boundary = /boundary=(\w+)/.exec(message.head)?.[1];
      const plain = (text: string) => (boundary === undefined ? text : text.replaceAll(boundary, 'BOUNDARY'));
      return {
        startLine: message.startLine,
        fields: fields(message, 'Date', 'Connection', 'Keep-Alive').map(plain),
        complete: message.complete,
        // What of a body arrives that ends too early is left to chance.
        body: message.complete ? plain(message.body.toString('latin1')) : '',
      };
    };

    const compare = async (expected: Sender, requestLine: string, ...lines: string[]) => {
      const name = `case ${requestLine} ${lines.join(', ')}`;
      const agent = `case/${randomBytes(8).toString('hex')}`;
      const direct = await askRegistry(requestLine, lines);
      const through = await exchange(frontDoor, authorized(requestLine, `User-Agent: ${agent}`, ...lines));
      assert.deepEqual(comparable(through), comparable(direct), name);
      const line = await frontDoor.logged(({ userAgent }) => userAgent === agent);
      assert.equal(line['source'], expected === 'storage' ? 'storage' : undefined, name);
      if (through.complete) assert.equal(line['bytesOut'], through.body.length, name);
      return through;
    };

    const cases: readonly (readonly [Sender, 'GET' | 'HEAD', (etag: string) => readonly string[]])[] = [
      ['storage', 'GET', () => []],
      ['registry', 'HEAD', () => []],
      ['storage', 'GET', () => ['Accept: application/json', 'Accept-Encoding: gzip']],
      ['storage', 'GET', () => ['Range: bytes=0-0']],
      ['storage', 'GET', () => ['Range: bytes=0-9']],
      ['storage', 'GET', () => [`Range: bytes=0-${size - 1}`]],
      ['storage', 'GET', () => ['Range: bytes=0-99999999']],
      ['storage', 'GET', () => [`Range: bytes=${size - 10}-`]],
      ['storage', 'GET', () => ['Range: bytes=70000-900000']],
      ['storage', 'GET', () => ['Range: bytes=-10']],
      ['storage', 'GET', () => ['Range: bytes=-99999999']],
      ['storage', 'GET', () => ['Range: bytes= 0 - 9']],
      ['storage', 'GET', () => ['Range: bytes=0-9,']],
      ['storage', 'GET', () => ['Range: bytes=']],
      ['storage', 'GET', () => ['Range: bytes=+1-5']],
      ['storage', 'GET', () => ['Range: bytes=0-9', 'Range: bytes=10-19']],
      ['registry', 'GET', () => ['Range: bytes=-0']],
      ['registry', 'GET', () => ['Range: bytes=0-0,5-5']],
      ['registry', 'GET', () => [`Range: bytes=${size}-`]],
      ['registry', 'GET', () => ['Range: bytes=5-2']],
      ['registry', 'GET', () => ['Range: Bytes=0-9']],
      ['registry', 'GET', () => ['Range: junk']],
      ['registry', 'HEAD', () => ['Range: bytes=0-9']],
      ['registry', 'HEAD', () => [`Range: bytes=${size}-`]],
      ['registry', 'GET', (etag) => [`If-None-Match: ${etag}`]],
      ['registry', 'HEAD', (etag) => [`If-None-Match: ${etag}`]],
      ['registry', 'GET', (etag) => [`If-None-Match: W/${etag}, "x"`]],
      ['registry', 'GET', () => ['If-None-Match: *']],
      ['registry', 'GET', (etag) => [`If-None-Match: ${etag}`, 'Range: bytes=0-9']],
      ['storage', 'GET', () => ['If-None-Match: "x"']],
      ['storage', 'GET', () => ['If-None-Match: "x"', 'Range: bytes=0-9']],
      ['storage', 'GET', (etag) => [`If-Range: ${etag}`, 'Range: bytes=0-9']],
      ['storage', 'GET', (etag) => [`If-Range: W/${etag}`, 'Range: bytes=0-9']],
      ['storage', 'GET', () => ['If-Range: "x"', 'Range: bytes=0-9']],
      ['storage', 'GET', () => [`If-Range: ${longAgo}`, 'Range: bytes=0-9']],
      ['storage', 'GET', (etag) => [`If-Match: ${etag}`]],
      ['registry', 'HEAD', () => ['If-Match: "x"']],
      ['storage', 'GET', () => [`If-Modified-Since: ${longAgo}`]],
      ['storage', 'GET', () => [`If-Unmodified-Since: ${longAgo}`]],
    ];
    for (const [sender, method, lines] of cases) {
      test(`${method} ${lines('ETAG').join(', ')}: ${sender}`, async () => {
        await compare(sender, `${method} /v2/${repository}/blobs/${digest}`, ...lines(`"${digest}"`));
      });
    }

    test('412, of which the registry claims a body that it does not send, is passed on by its head', async () => {
      const requestLine = `GET /v2/${repository}/blobs/${digest}`;
      const direct = await askRegistry(requestLine, ['If-Match: "x"', 'Connection: close']);
      const through = await exchange(
        frontDoor,
        authorized(requestLine, 'If-Match: "x"', 'Connection: close'),
      );
      assert.deepEqual(comparable(through), comparable(direct));
    });

    test('a digest that is written encoded, and a query', async () => {
      const encoded = digest.replace(':', '%3A');
      await compare('storage', `GET /v2/${repository}/blobs/${encoded}`);
      await compare('storage', `GET /v2/${repository}/blobs/${encoded}?ns=docker.io`, 'Range: bytes=1-2');
    });

    test('an empty blob', async () => {
      const target = `/v2/${repository}/blobs/${emptyDigest}`;
      await compare('storage', `GET ${target}`);
      await compare('registry', `GET ${target}`, 'Range: bytes=0-0');
      await compare('registry', `GET ${target}`, 'Range: bytes=-5');
    });

    test("what is not there, and another repository's blob", async () => {
      const missing = await compare('registry', `GET /v2/${repository}/blobs/sha256:${'0'.repeat(64)}`);
      assert.equal(missing.status, 404);
      const foreign = await compare('registry', `GET /v2/team/other/blobs/${digest}`);
      assert.equal(foreign.status, 404);
    });

    test('many requests on one connection, answered in order', async () => {
      const all = await askRegistry(`GET /v2/${repository}/blobs/${digest}`, []);
      const client = await connectClient(frontDoor);
      const spans = [0, 1000, 65_536, 700_000, 1_000_000].map((start) => [start, start + 200_000] as const);
      for (const [start, end] of spans) {
        client.send(authorized(`GET /v2/${repository}/blobs/${digest}`, `Range: bytes=${start}-${end - 1}`));
      }
      for (const [start, end] of spans) {
        const { body } = await client.response();
        assert.ok(body.equals(all.body.subarray(start, end)), `${start}-${end}`);
      }
      client.leave();
    });
  },
);
