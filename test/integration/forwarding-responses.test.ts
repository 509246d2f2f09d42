import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { basic, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, fields, head, values } from '../support/http-message.ts';
import { authorized, clientHost, connectClient, exchange, type Response } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('what the client receives', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let answer: readonly (string | Buffer)[] = [];
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        request.answer(...answer);
        if (
          !/^HTTP\/1\.1 .*\r\n(.*\r\n)*(content-length|transfer-encoding):|^HTTP\/1\.1 (1|204|304)/i.test(
            String(answer[0]),
          )
        )
          request.socket.end();
      },
    });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  /** The response to a request that upstream answers with these bytes. */
  const relayed = (request: string, ...bytes: (string | Buffer)[]): Promise<Response> => {
    answer = bytes;
    return exchange(frontDoor, request);
  };
  const get = authorized('GET /v2/app/blobs/x');
  /** Those that Tidegate's own connection adds. */
  const own = ['Date', 'Connection', 'Keep-Alive', 'Transfer-Encoding'];

  test('status line with its reason, names in their case, order, repeats, Latin-1', async () => {
    const lines = [
      'content-LENGTH: 2',
      'Docker-Content-Digest: sha256:00',
      'X-Twice: 1',
      'Link: </v2/_catalog?last=a&n=1>; rel="next"',
      'x-twice: 2',
      'OCI-Subject: sha256:01',
      'OCI-Filters-Applied: artifactType',
      'Set-Cookie: a=1; Path=/',
      'set-cookie: b=2',
      'Set-Cookie: c=3',
      'ETag: "x"',
      'X_Under: kept',
      'Server: Registry/1 (caf\xe9)',
      'Vary: Accept',
      'X-Empty:',
      'Date: Tue, 01 Jan 2030 00:00:00 GMT',
    ];
    const response = await relayed(get, head('HTTP/1.1 299 Rather Fine', ...lines), 'ok');
    assert.equal(response.startLine, 'HTTP/1.1 299 Rather Fine');
    assert.deepEqual(
      fields(response, 'Connection', 'Keep-Alive'),
      lines.map((line) => line.replace(/:$/, ': ')),
    );
    assert.equal(response.body.toString(), 'ok');
  });

  test('an empty reason', async () => {
    const response = await relayed(get, head('HTTP/1.1 200 ', 'Content-Length: 0'));
    assert.equal(response.startLine.trimEnd(), 'HTTP/1.1 200');
  });

  test("upstream's hop-by-hop headers and those its Connection names end here", async () => {
    const response = await relayed(
      get,
      head(
        'HTTP/1.1 200 OK',
        'Content-Length: 0',
        'Connection: close, X-Hop, Content-Length',
        'X-Hop: 1',
        'Keep-Alive: timeout=1234',
        'Proxy-Authenticate: Basic',
        'Upgrade: h2',
        'X-Kept: 1',
      ),
    );
    assert.deepEqual(fields(response, ...own), ['Content-Length: 0', 'X-Kept: 1']);
    assert.doesNotMatch(response.head, /1234|close/);
  });

  test('HEAD: the length of what is not sent', async () => {
    const client = await connectClient(frontDoor);
    for (const length of ['5368709120', '0']) {
      answer = [
        head('HTTP/1.1 200 OK', `Content-Length: ${length}`, 'Content-Type: application/octet-stream'),
      ];
      client.send(authorized('HEAD /v2/app/blobs/x'));
      const response = await client.response('HEAD');
      assert.deepEqual(values(response, 'content-length'), [length]);
    }
    answer = [head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok'];
    client.send(get);
    assert.equal((await client.response()).body.toString(), 'ok'); // nothing of a body came between
    client.leave();
  });

  for (const [line, ...lines] of [
    ['HTTP/1.1 204 No Content', 'Docker-Upload-UUID: 1', 'Range: 0-0'],
    ['HTTP/1.1 204 No Content', 'Content-Length: 0'],
    ['HTTP/1.1 304 Not Modified', 'ETag: "x"'],
    ['HTTP/1.1 304 Not Modified', 'Content-Length: 1234', 'ETag: "x"'],
  ] as const) {
    test(`${line}, ${lines.join(', ')}: no body, and the connection stays`, async () => {
      const client = await connectClient(frontDoor);
      answer = [head(line, ...lines)];
      for (let i = 0; i < 2; i++) {
        client.send(get);
        const response = await client.response();
        assert.equal(response.startLine, line);
        assert.deepEqual(fields(response, ...own), [...lines]);
      }
      client.leave();
    });
  }

  test('206 and its Content-Range', async () => {
    const response = await relayed(
      authorized('GET /v2/app/blobs/x', 'Range: bytes=2-3'),
      head(
        'HTTP/1.1 206 Partial Content',
        'Content-Length: 2',
        'Content-Range: bytes 2-3/10',
        'Accept-Ranges: bytes',
      ),
      'cd',
    );
    assert.equal(response.status, 206);
    assert.deepEqual(values(response, 'content-range'), ['bytes 2-3/10']);
    assert.equal(response.body.toString(), 'cd');
  });

  test('202 of an upload: Range and Content-Range without unit', async () => {
    const response = await relayed(
      authorized('PATCH /v2/app/blobs/uploads/1', 'Content-Range: 0-2', 'Content-Length: 0'),
      head('HTTP/1.1 202 Accepted', 'Range: 0-2', 'Content-Range: 0-2', 'Content-Length: 0'),
    );
    assert.equal(response.status, 202);
    assert.deepEqual(values(response, 'range'), ['0-2']);
    assert.deepEqual(values(response, 'content-range'), ['0-2']);
    assert.deepEqual(values(upstream.requests.at(-1) ?? assert.fail(), 'content-range'), ['0-2']);
  });

  test('416', async () => {
    const response = await relayed(
      get,
      head('HTTP/1.1 416 Requested Range Not Satisfiable', 'Content-Range: bytes */10', 'Content-Length: 33'),
      'x'.repeat(33),
    );
    assert.equal(response.status, 416);
    assert.deepEqual(values(response, 'content-range'), ['bytes */10']);
    assert.equal(response.body.length, 33);
  });

  const query = '?_state=a%2Fb%2B==&digest=sha256:0&x=%7E~//\\';
  const upstreamHost = () => `127.0.0.1:${upstream.port}`;
  for (const [what, location, expected] of [
    ['relative', () => `/v2/app/blobs/uploads/1${query}`, () => `/v2/app/blobs/uploads/1${query}`],
    ['relative to the path', () => `1${query}`, () => `1${query}`],
    [
      'at upstream',
      () => `http://${upstreamHost()}/v2/x${query}`,
      () => `https://${clientHost}/v2/x${query}`,
    ],
    ['at upstream, another case', () => `HTTP://${upstreamHost()}/v2/X`, () => `https://${clientHost}/v2/X`],
    [
      'at the front door over http',
      () => `http://${clientHost}/v2/x${query}`,
      () => `https://${clientHost}/v2/x${query}`,
    ],
    [
      'at the front door',
      () => `https://${clientHost}/v2/x${query}`,
      () => `https://${clientHost}/v2/x${query}`,
    ],
    ['at another host', () => `http://s3.example/bucket${query}`, () => `http://s3.example/bucket${query}`],
    [
      'at another host over https',
      () => `https://s3.example/b${query}#f`,
      () => `https://s3.example/b${query}#f`,
    ],
    ["at another port of upstream's host", () => 'http://127.0.0.1:1/x', () => 'http://127.0.0.1:1/x'],
    [
      "with upstream's name as user",
      () => `http://${upstreamHost()}@s3.example/x`,
      () => `http://${upstreamHost()}@s3.example/x`,
    ],
  ] as const) {
    test(`307 with a Location ${what}`, async () => {
      const response = await relayed(
        get,
        head('HTTP/1.1 307 Temporary Redirect', `Location: ${location()}`, 'Content-Length: 0'),
      );
      assert.equal(response.status, 307);
      assert.deepEqual(values(response, 'location'), [expected()]);
    });
  }

  test('chunks, and trailers after them', async () => {
    const response = await relayed(
      get,
      head('HTTP/1.1 200 OK', 'transfer-encoding: chunked', 'Trailer: X-Sum'),
      '3\r\nabc\r\n4;x=1\r\ndefg\r\n0\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n',
    );
    assert.equal(response.body.toString(), 'abcdefg');
    assert.equal(response.complete, true);
    assert.deepEqual(values(response, 'trailer'), ['X-Sum']);
    assert.deepEqual(response.trailers, ['X-Sum: 7', 'x-sum: 8']);
    assert.deepEqual(values(response, 'content-length'), []);
  });

  test('a Trailer field without chunks is left out', async () => {
    const response = await relayed(
      get,
      head('HTTP/1.1 200 OK', 'Content-Length: 3', 'Trailer: X-Sum'),
      'abc',
    );
    assert.equal(response.status, 200);
    assert.equal(response.body.toString(), 'abc');
    assert.deepEqual(values(response, 'trailer'), []);
  });

  test('1xx answers of upstream go no further', async () => {
    const response = await relayed(
      get,
      head('HTTP/1.1 103 Early Hints', 'Link: </x>'),
      head('HTTP/1.1 102 Processing'),
      head('HTTP/1.1 200 OK', 'Content-Length: 2'),
      'ok',
    );
    assert.equal(response.startLine, 'HTTP/1.1 200 OK');
    assert.equal(response.body.toString(), 'ok');
  });

  test('a body that upstream ends by closing', async () => {
    for (const version of ['1.1', '1.0']) {
      const response = await relayed(
        get,
        head(`HTTP/${version} 200 OK`, 'Content-Type: text/plain'),
        'until the end',
      );
      assert.equal(response.startLine, 'HTTP/1.1 200 OK');
      assert.equal(response.body.toString(), 'until the end');
      assert.equal(response.complete, true);
      assert.deepEqual(values(response, 'transfer-encoding'), ['chunked']);
    }
  });

  test('a client of HTTP/1.0 gets no chunks, and the end by a close', async () => {
    answer = [head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'), chunked('abc')];
    const client = await connectClient(frontDoor);
    client.send(head('GET /v2/x HTTP/1.0', 'Host: x', `Authorization: ${basic}`));
    const response = await client.response();
    assert.deepEqual(values(response, 'transfer-encoding'), []);
    assert.equal(response.body.toString(), 'abc');
    client.leave();
  });
});
