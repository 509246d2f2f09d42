import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient } from '../support/cache-client.ts';
import { digestOf } from '../support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, fields, head, values } from '../support/http-message.ts';
import {
  authorized,
  connectClient,
  errorCode,
  exchange,
  type RawClient,
  type Response,
} from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const type = 'application/vnd.oci.image.manifest.v1+json';
const manifest = `{"schemaVersion":2,"mediaType":"${type}","note":"é \\u0000"}`;
const bytes = Buffer.from(manifest);
const digest = digestOf(bytes);

const manifestHead = (...lines: string[]) => [
  'HTTP/1.1 200 OK',
  `content-TYPE: ${type}`,
  `Docker-Content-Digest: ${digest}`,
  'Docker-Distribution-Api-Version: registry/2.0',
  `Etag: "${digest}"`,
  'X-Content-Type-Options: nosniff',
  'X-Twice: 1',
  'x-twice: 2',
  ...lines,
];
const ok = (...lines: string[]) => head(...manifestHead(`Content-Length: ${bytes.length}`, ...lines));
const cacheOf = (response: Pick<Response, 'headers'>) => values(response, 'X-Cache').join();

describe('answers from the cache', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let answer: (request: UpstreamRequest) => unknown;
  let serial = 0;
  /** A repository that no other test has asked for. */
  let repository: string;
  let asked: () => readonly UpstreamRequest[];

  before(async () => {
    upstream = await startUpstream({ script: (request) => answer(request) });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      // The inventory asks upstream on its own.
      set: ['cache.maxEntryBytes=4KiB', 'cache.tagTtl=1h', 'console.enabled=false'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  beforeEach(() => {
    repository = `r${++serial}`;
    const first = upstream.requests.length;
    asked = () => upstream.requests.slice(first);
    answer = (request) => request.answer(ok(), request.startLine.startsWith('HEAD') ? '' : bytes);
  });

  const accept = `Accept: ${type}`;
  const get = (reference: string, ...lines: string[]) =>
    exchange(frontDoor, authorized(`GET /v2/${repository}/manifests/${reference}`, ...lines));
  const headOf = (reference: string, ...lines: string[]) =>
    exchange(frontDoor, authorized(`HEAD /v2/${repository}/manifests/${reference}`, ...lines));

  describe('are what upstream sent, byte for byte', () => {
    const framings: readonly [string, () => void][] = [
      ['with Content-Length', () => {}],
      [
        'in chunks',
        () => {
          answer = (request) =>
            request.answer(
              head(...manifestHead('Transfer-Encoding: chunked')),
              chunked(bytes.toString('latin1')),
            );
        },
      ],
    ];
    for (const [framing, arrange] of framings) {
      for (const reference of ['latest', digest]) {
        test(`${framing}, by ${reference === digest ? 'digest' : 'tag'}`, async () => {
          arrange();
          const expected = [
            ...manifestHead().slice(1),
            'X-Cache: ?',
            `Content-Length: ${bytes.length}`,
            'Connection: keep-alive',
          ];
          for (const expectedCache of ['MISS', 'HIT', 'HIT']) {
            const response = await get(reference, accept);
            assert.equal(response.startLine, 'HTTP/1.1 200 OK');
            assert.deepEqual(response.body, bytes);
            const wanted = expected.map((line) => line.replace('?', expectedCache));
            assert.deepEqual(fields(response, 'Date', 'Keep-Alive'), wanted);
            assert.equal(values(response, 'Date').length, 1);
            const headers = await headOf(reference, accept);
            assert.equal(headers.startLine, 'HTTP/1.1 200 OK');
            assert.deepEqual(
              fields(headers, 'Date', 'Keep-Alive'),
              expected.map((line) => line.replace('?', 'HIT')),
            );
          }
          assert.equal(asked().length, 1);
        });
      }
    }

    test('HEAD first: the body that was fetched for it answers the GET', async () => {
      const first = await headOf('latest', accept);
      assert.deepEqual([first.status, cacheOf(first), first.body.length], [200, 'MISS', 0]);
      assert.equal(values(first, 'Content-Length').join(), String(bytes.length));
      const second = await get('latest', accept);
      assert.deepEqual([cacheOf(second), second.body], ['HIT', bytes]);
      assert.equal(asked().length, 1);
    });
  });

  describe('If-None-Match (RFC 9110 section 13.1.2)', () => {
    for (const tag of [`"${digest}"`, `W/"${digest}"`, `"other", "${digest}"`, '*', digest]) {
      test(`${tag.slice(0, 12)}… is a 304 from the cache, without a body`, async () => {
        await get('latest', accept);
        const response = await get('latest', accept, `If-None-Match: ${tag}`);
        assert.equal(response.status, 304);
        assert.deepEqual(values(response, 'Etag'), [`"${digest}"`]);
        assert.deepEqual(values(response, 'Docker-Content-Digest'), [digest]);
        assert.deepEqual([values(response, 'Content-Length'), values(response, 'Content-Type')], [[], []]);
        assert.equal(cacheOf(response), 'HIT');
      });
    }
    test('another one is the whole answer', async () => {
      await get('latest', accept);
      const response = await get('latest', accept, 'If-None-Match: "other"');
      assert.deepEqual([response.status, response.body], [200, bytes]);
    });
  });

  describe('a request that asks for something of its own goes to upstream, and its answer is not kept', () => {
    const own = [
      'Range: bytes=0-1',
      'If-Range: "x"',
      'If-Match: "x"',
      'If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT',
      'If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT',
      'Cookie: session=1',
      'Cache-Control: no-cache',
      'Cache-Control: max-age=0, no-store',
      'Pragma: no-cache',
    ];
    for (const line of own) {
      test(line, async () => {
        await get('latest', accept);
        for (let i = 0; i < 2; i++) assert.equal(cacheOf(await get('latest', accept, line)), 'BYPASS');
        assert.equal(asked().length, 3);
        assert.ok(asked()[2]?.head.includes(line));
        assert.equal(cacheOf(await get('latest', accept)), 'HIT');
      });
    }
    test('a query', async () => {
      for (let i = 0; i < 2; i++)
        assert.deepEqual(values(await get('latest?ns=docker.io', accept), 'X-Cache'), []);
      assert.equal(asked().length, 2);
    });
  });

  describe('an answer that is not for everyone, or not for long, is never given again', () => {
    const big = Buffer.alloc(5000, 'x');
    const bigHead = (framing: string) =>
      head('HTTP/1.1 200 OK', `Content-Type: ${type}`, `Docker-Content-Digest: ${digestOf(big)}`, framing);
    const large = () => [bigHead('Content-Length: 5000'), big];
    const largeInChunks = () => [bigHead('Transfer-Encoding: chunked'), chunked(big.toString())];
    const answers: readonly [what: string, expectedCache: string, answer: () => (string | Buffer)[]][] = [
      ['Set-Cookie', 'BYPASS', () => [ok('Set-Cookie: a=b'), bytes]],
      ['X-Docker-Token', 'BYPASS', () => [ok('X-Docker-Token: signature=1'), bytes]],
      ['Cache-Control: private', 'BYPASS', () => [ok('Cache-Control: private, max-age=60'), bytes]],
      ['Vary on something else than Accept', 'BYPASS', () => [ok('Vary: Accept, User-Agent'), bytes]],
      ['Vary: *', 'BYPASS', () => [ok('Vary: *'), bytes]],
      ['Cache-Control: no-store', 'MISS', () => [ok('Cache-Control: no-store'), bytes]],
      ['Cache-Control: no-cache', 'MISS', () => [ok('Cache-Control: no-cache'), bytes]],
      ['Content-Encoding', 'MISS', () => [ok('Content-Encoding: zstd'), bytes]],
      ['404', 'MISS', () => [head('HTTP/1.1 404 Not Found', 'Content-Length: 4'), 'none']],
      ['401 of upstream', 'MISS', () => [head('HTTP/1.1 401 Unauthorized', 'Content-Length: 4'), 'none']],
      ['429', 'MISS', () => [head('HTTP/1.1 429 Slow Down', 'Content-Length: 4'), 'none']],
      ['500', 'MISS', () => [head('HTTP/1.1 500 Oh', 'Content-Length: 4'), 'none']],
      ['307', 'BYPASS', () => [head('HTTP/1.1 307 Elsewhere', 'Location: /x', 'Content-Length: 0')]],
      [
        '206',
        'BYPASS',
        () => [head('HTTP/1.1 206 Part', 'Content-Range: bytes 0-1/9', 'Content-Length: 2'), '{}'],
      ],
      ['204', 'BYPASS', () => [head('HTTP/1.1 204 No Content')]],
      ['203', 'BYPASS', () => [head('HTTP/1.1 203 Changed', 'Content-Length: 2'), '{}']],
      ['a digest that it is not', 'MISS', () => [ok().replace(digest, digestOf('another')), bytes]],
      [
        'no digest',
        'MISS',
        () => [head('HTTP/1.1 200 OK', `Content-Type: ${type}`, 'Content-Length: 2'), '{}'],
      ],
      [
        'another type than was asked for',
        'MISS',
        () => [ok().replace(type, 'application/vnd.docker.distribution.manifest.v2+json'), bytes],
      ],
      ['larger than maxEntryBytes', 'BYPASS', large],
      ['larger than maxEntryBytes, in chunks', 'BYPASS', largeInChunks],
    ];
    for (const [what, expectedCache, parts] of answers) {
      test(what, async () => {
        answer = (request) => request.answer(...parts());
        for (let i = 0; i < 2; i++) {
          const response = await get('latest', accept);
          const [sent, body = ''] = parts();
          assert.equal(response.startLine, String(sent).split('\r\n')[0]);
          if (!what.endsWith('chunks')) assert.deepEqual(response.body, Buffer.from(body as string));
          assert.equal(cacheOf(response), expectedCache);
          assert.equal(response.complete, true);
        }
        assert.equal(asked().length, expectedCache === 'MISS' ? 2 : 4);
      });
    }
    test('Vary: Accept is what the key is made of', async () => {
      answer = (request) => request.answer(ok('Vary: accept'), bytes);
      await get('latest', accept);
      assert.equal(cacheOf(await get('latest', accept)), 'HIT');
    });
  });

  describe('an answer that cannot be given on is a 502, and the next one is asked for', () => {
    const whole = `Content-Length: ${bytes.length}`;
    const broken: readonly [what: string, ...answer: (string | Buffer)[]][] = [
      ['a reason phrase with a control character', head('HTTP/1.1 404 \x01', 'Content-Length: 0')],
      [
        'a Transfer-Encoding that is not chunked',
        head('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'),
        '0\r\n\r\n',
      ],
      ['101', head('HTTP/1.1 101 Switching Protocols', 'Upgrade: x', 'Connection: upgrade')],
      ['two lengths', head('HTTP/1.1 200 OK', whole, 'Content-Length: 1'), bytes],
      ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ];
    for (const [what, ...parts] of broken) {
      test(what, async () => {
        answer = (request) => request.answer(...parts);
        const response = await get('latest', accept);
        assert.deepEqual([response.status, errorCode(response)], [502, 'BAD_GATEWAY']);
        answer = (request) => request.answer(ok(), bytes);
        assert.equal((await get('latest', accept)).status, 200);
      });
    }
    test('half of it', async () => {
      answer = (request) => {
        request.answer(ok(), bytes.subarray(1));
        request.socket.end();
      };
      assert.equal((await get('latest', accept)).status, 502);
      answer = (request) => request.answer(ok(), bytes);
      assert.deepEqual((await get('latest', accept)).body, bytes);
    });
  });

  describe('what is no manifest is always upstream’s to answer, and says nothing of a cache', () => {
    const paths = [
      '/v2/_catalog',
      '/v2/app/tags/list',
      `/v2/app/blobs/${digest}`,
      `/v2/app/referrers/${digest}`,
      '/v2/app/blobs/uploads/1',
      '/v2/app/manifests/',
      '/v1/repositories/app/images',
      '/v1/repositories/library/app/images',
      '/v1/images/abc/layer',
      '/v1/search?q=a',
      '/',
    ];
    for (const method of ['GET', 'HEAD']) {
      for (const target of paths) {
        test(`${method} ${target}`, async () => {
          for (let i = 0; i < 2; i++) {
            const response = await exchange(frontDoor, authorized(`${method} ${target}`, accept));
            assert.deepEqual([response.status, values(response, 'X-Cache')], [200, []]);
          }
          assert.equal(asked().length, 2);
        });
      }
    }
    test('the version check', async () => {
      for (let i = 0; i < 2; i++) await exchange(frontDoor, authorized('GET /v2/', accept));
      assert.equal(asked().length, 2);
    });
  });

  describe('the first protocol', () => {
    const v1 = (method: string, path: string, ...lines: string[]) =>
      exchange(frontDoor, authorized(`${method} /v1/${path}`, ...lines));
    const readWrites: readonly [read: string, write: string][] = [
      ['images/ID/json', 'PUT images/ID/json'],
      ['images/ID/json', 'PUT images/ID/layer'],
      ['images/ID/ancestry', 'PUT images/ID/checksum'],
      ['repositories/ID/tags', 'PUT repositories/ID/tags/latest'],
      ['repositories/ID/tags', 'PUT repositories/library/ID/tags/latest'],
      ['repositories/library/ID/tags', 'DELETE repositories/ID/tags/latest'],
      ['repositories/team/ID/tags/latest', 'DELETE repositories/team/ID/'],
      ['repositories/team/ID/tags/latest', 'DELETE repositories/team/ID/tags'],
      ['repositories/team/ID/tags', 'PUT repositories/team/ID/images'],
      ['repositories/team/ID/tags', 'PUT repositories/team/ID'],
    ];
    for (const [read, write] of readWrites) {
      test(`GET ${read} is kept until ${write}`, async () => {
        const named = (text: string) => text.replace('ID', repository);
        let body = '{"1":1}';
        answer = async (request) => {
          await request.body();
          request.answer(
            head('HTTP/1.1 200 OK', 'Content-Type: application/json', 'Content-Length: 7'),
            body,
          );
        };
        assert.equal(cacheOf(await v1('GET', named(read))), 'MISS');
        const second = await v1('GET', named(read));
        assert.deepEqual([cacheOf(second), second.body.toString()], ['HIT', body]);
        assert.equal(asked().length, 1);
        body = '{"2":2}';
        const [method = '', path = ''] = named(write).split(' ');
        assert.equal((await v1(method, path, 'Content-Length: 0')).status, 200);
        const third = await v1('GET', named(read));
        assert.deepEqual([cacheOf(third), third.body.toString()], ['MISS', body]);
      });
    }
    test('a token or a cookie in the answer is for one client', async () => {
      answer = (request) =>
        request.answer(head('HTTP/1.1 200 OK', 'X-Docker-Token: a', 'Content-Length: 2'), '{}');
      for (let i = 0; i < 2; i++)
        assert.equal(cacheOf(await v1('GET', `repositories/${repository}/tags`)), 'BYPASS');
    });
  });

  describe('one question for all who ask at the same time', () => {
    let crowd: RawClient[];
    before(async () => {
      crowd = [];
      for (let i = 0; i < 20; i++)
        crowd.push(...(await Promise.all(Array.from({ length: 50 }, () => connectClient(frontDoor)))));
    });
    after(() => {
      for (const client of crowd) client.leave();
    });
    /** A thousand clients ask at once. Gives the question that upstream is asked, when all of them have asked. */
    const askAtOnce = async (): Promise<{ question: UpstreamRequest; answers: Promise<Response[]> }> => {
      const arrived = new Promise<UpstreamRequest>((resolve) => {
        answer = (request) =>
          request.startLine.includes(repository) ? resolve(request) : request.answer(ok(), bytes);
      });
      for (const client of crowd) client.send(authorized(`GET /v2/${repository}/manifests/latest`, accept));
      const answers = Promise.all(crowd.map((client) => client.response()));
      const question = await arrived;
      // Tidegate takes connections in turn: when it has answered another one, it has heard these.
      await exchange(frontDoor, authorized('GET /v1/other?asked=afterwards'));
      return { question, answers };
    };
    const first = async () => {
      const { question, answers } = await askAtOnce();
      const known = asked().filter(({ startLine }) => startLine.includes(repository));
      assert.equal(known.length, 1);
      return { question, answers };
    };

    test('a thousand first pulls', async () => {
      const { question, answers } = await first();
      question.answer(ok(), bytes);
      const given = await answers;
      assert.ok(given.every(({ status, body }) => status === 200 && body.equals(bytes)));
    });
    test('when it fails, all learn it, and the next to ask is not told of it', async () => {
      const { question, answers } = await first();
      question.answer(head('HTTP/1.1 500 Oh', 'Content-Length: 2'), 'no');
      const given = await answers;
      assert.ok(given.every(({ status }) => status === 500));
      answer = (request) => request.answer(ok(), bytes);
      assert.equal((await get('latest', accept)).status, 200);
    });
    test('when upstream breaks off', async () => {
      const { question, answers } = await first();
      // The first may have been sent over a connection that was kept, and is tried once more.
      answer = (request) => request.socket.resetAndDestroy();
      question.socket.resetAndDestroy();
      const given = await answers;
      assert.ok(given.every((response) => response.status === 502 && errorCode(response) === 'BAD_GATEWAY'));
      answer = (request) => request.answer(ok(), bytes);
      assert.equal((await get('latest', accept)).status, 200);
    });
    test('whose first client leaves', async () => {
      const arrived = new Promise<UpstreamRequest>((resolve) => (answer = resolve));
      const first = await connectClient(frontDoor);
      first.send(authorized(`GET /v2/${repository}/manifests/latest`, accept));
      const request = await arrived;
      const second = await connectClient(frontDoor);
      second.send(authorized(`GET /v2/${repository}/manifests/latest`, accept));
      // The second has been heard when upstream has been asked something later; else it would ask anew.
      answer = (request) => request.answer(ok(), bytes);
      await exchange(frontDoor, authorized('GET /v1/other?asked=afterwards'));
      const logged = frontDoor.logged((line) => line['path'] === `/v2/${repository}/manifests/latest`);
      first.leave();
      await logged;
      request.answer(ok(), bytes);
      const response = await second.response();
      assert.deepEqual([response.status, response.body], [200, bytes]);
      assert.equal(asked().filter(({ startLine }) => startLine.includes(repository)).length, 1);
      second.leave();
    });
    test('all of whose clients leave: upstream is left too', async () => {
      const arrived = new Promise<UpstreamRequest>((resolve) => (answer = resolve));
      const clients = await Promise.all([connectClient(frontDoor), connectClient(frontDoor)]);
      for (const client of clients) client.send(authorized(`GET /v2/${repository}/manifests/latest`, accept));
      const request = await arrived;
      // Both have been heard when upstream has been asked something later.
      answer = (request) => request.answer(ok(), bytes);
      await exchange(frontDoor, authorized('GET /v1/other?asked=afterwards'));
      for (const client of clients) client.leave();
      await request.closed;
    });
  });

  describe('a pull that begins after a write was acknowledged', () => {
    // A delete waits until there is none: deletes.test.ts.
    test('never joins a question of before', async () => {
      const arrived = new Promise<UpstreamRequest>((resolve) => (answer = resolve));
      const early = await connectClient(frontDoor);
      early.send(authorized(`GET /v2/${repository}/manifests/latest`, accept));
      const old = await arrived;
      answer = async (request) => {
        await request.body();
        request.answer(head('HTTP/1.1 202 Done', 'Content-Length: 0'));
      };
      const done = await exchange(
        frontDoor,
        authorized(`PUT /v2/${repository}/manifests/latest`, 'Content-Length: 0'),
      );
      assert.equal(done.status, 202);
      answer = (request) => request.answer(head('HTTP/1.1 404 Gone', 'Content-Length: 0'));
      const late = await get('latest', accept);
      assert.deepEqual([late.status, cacheOf(late)], [404, 'MISS']);
      old.answer(ok(), bytes);
      assert.equal((await early.response()).status, 200);
      assert.equal((await get('latest', accept)).status, 404, 'the older answer was kept');
      early.leave();
    });
  });

  test('an answer from the cache that its client does not read is cut like any other', async () => {
    const impatient = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['cache.maxEntryBytes=16MiB', 'cache.tagTtl=1h', 'limits.idleTimeout=1s'],
    });
    try {
      // More than the sockets' buffers take.
      const large = Buffer.alloc(16 * 1024 * 1024, 'x');
      const fit = [`Content-Type: ${type}`, `Docker-Content-Digest: ${digestOf(large)}`];
      answer = (request) =>
        request.answer(head('HTTP/1.1 200 OK', ...fit, `Content-Length: ${large.length}`), large);
      const path = `/v2/${repository}/manifests/latest`;
      const reader = createCacheClient(impatient);
      const whole = await reader.ask('GET', path, { headers: { Accept: type } });
      assert.equal(whole.body.length, large.length);
      reader.close();
      const client = await connectClient(impatient);
      client.socket.pause();
      client.send(authorized(`GET ${path}`, accept));
      await impatient.logged((line) => line['path'] === path && line['cache'] === 'HIT');
      client.leave();
    } finally {
      await impatient.stop();
    }
  });
});
