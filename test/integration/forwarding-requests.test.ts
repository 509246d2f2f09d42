import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { fields, head, values } from '../support/http-message.ts';
import { run } from '../support/processes.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { anonymous, authorized, clientHost, connectClient, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('what upstream receives', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  /** Sends a request and gives it as upstream received it. */
  const forwarded = async (...bytes: (string | Buffer)[]) => {
    const earlier = upstream.requests.length;
    const response = await exchange(frontDoor, ...bytes);
    assert.equal(response.status, 200, response.body.toString());
    assert.equal(upstream.requests.length, earlier + 1);
    const received = upstream.requests.at(-1);
    assert.ok(received);
    return received;
  };

  test('the request line and the headers, in the order and case of the client', async () => {
    const received = await forwarded(
      authorized(
        'GET /v2/app/manifests/Latest',
        'user-AGENT: test/1',
        'ACCEPT: application/vnd.oci.image.index.v1+json',
        'Accept: */*;q=0.1',
        'X-Empty:',
        'Range: bytes=0-1',
        'If-None-Match: "sha256:00"',
        'X-Latin-1: caf\xe9',
      ),
    );
    assert.equal(received.startLine, 'GET /v2/app/manifests/Latest HTTP/1.1');
    const [forwardedFor, proto, host, realIp, requestId, traceparent, connection] =
      fields(received).slice(-7);
    assert.deepEqual(fields(received).slice(0, -7), [
      `Host: ${clientHost}`,
      'user-AGENT: test/1',
      'ACCEPT: application/vnd.oci.image.index.v1+json',
      'ACCEPT: */*;q=0.1',
      'X-Empty: ',
      'Range: bytes=0-1',
      'If-None-Match: "sha256:00"',
      'X-Latin-1: caf\xe9',
    ]);
    assert.equal(forwardedFor, 'X-Forwarded-For: 127.0.0.1');
    assert.equal(proto, 'X-Forwarded-Proto: https');
    assert.equal(host, `X-Forwarded-Host: ${clientHost}`);
    assert.equal(realIp, 'X-Real-IP: 127.0.0.1');
    assert.match(requestId ?? '', /^X-Request-Id: [0-9a-f]{32}$/);
    assert.match(traceparent ?? '', /^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    assert.match(connection ?? '', /^Connection: keep-alive$/i);
  });

  test('no Authorization of the client, however it is written', async () => {
    for (const name of ['Authorization', 'AUTHORIZATION', 'authorization']) {
      const received = await forwarded(head('GET /v2/ HTTP/1.1', 'Host: x', `${name}: ${basic}`));
      assert.deepEqual(values(received, 'authorization'), []);
    }
  });

  test('what the client claims about itself is replaced', async () => {
    const received = await forwarded(
      authorized(
        'GET /v2/',
        'X-Forwarded-For: 198.51.100.1',
        'x-forwarded-for: 198.51.100.2',
        'X-Forwarded-Proto: http',
        'X-Forwarded-Host: evil.example',
        'X-Forwarded-Port: 1',
        'X-Forwarded-Prefix: /evil',
        'X-Real-IP: 198.51.100.3',
        'Forwarded: for=198.51.100.4',
        'X-Request-Id: chosen by the client',
        'traceparent: 00-chosen-01',
        'tracestate: chosen=1',
      ),
    );
    assert.deepEqual(values(received, 'x-forwarded-for'), ['127.0.0.1']);
    assert.deepEqual(values(received, 'x-forwarded-proto'), ['https']);
    assert.deepEqual(values(received, 'x-forwarded-host'), [clientHost]);
    assert.deepEqual(values(received, 'x-real-ip'), ['127.0.0.1']);
    assert.doesNotMatch(
      received.head,
      /198\.51\.100|evil|chosen|forwarded-port|forwarded-prefix|^forwarded:/im,
    );
  });

  test('names with an underscore are dropped: a CGI upstream cannot tell them from ours', async () => {
    const received = await forwarded(
      authorized('GET /v2/', 'X_Real_IP: 198.51.100.3', 'X_FORWARDED-FOR: 198.51.100.4', '__proto__: x'),
    );
    assert.doesNotMatch(received.head, /198\.51\.100|_/);
  });

  test('hop-by-hop headers and those that Connection names end here, but nothing that the request needs', async () => {
    const received = await forwarded(
      authorized(
        'PUT /v2/app/blobs/uploads/1',
        'Content-Type: application/octet-stream',
        'Cookie: session=1',
        'Connection: keep-alive, X-Mine, Host, Content-Length, Content-Type, Authorization, Cookie, X-Forwarded-For, X-Real-IP',
        'connection: X-Other',
        'X-Mine: 1',
        'X-Other: 1',
        'Keep-Alive: timeout=5',
        'Proxy-Connection: keep-alive',
        'Proxy-Authorization: Basic eDp5',
        'TE: trailers',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAAQAAP__',
        'Content-Length: 3',
      ),
      'abc',
    );
    assert.doesNotMatch(received.head, /X-Mine|X-Other|Keep-Alive: t|Proxy-|^TE:|Upgrade|HTTP2/im);
    assert.deepEqual(values(received, 'host'), [clientHost]);
    assert.deepEqual(values(received, 'content-length'), ['3']);
    assert.deepEqual(values(received, 'content-type'), ['application/octet-stream']);
    assert.deepEqual(values(received, 'cookie'), ['session=1']);
    assert.deepEqual(values(received, 'x-forwarded-for'), ['127.0.0.1']);
    assert.deepEqual(values(received, 'x-real-ip'), ['127.0.0.1']);
    assert.equal((await received.body()).body.toString(), 'abc');
  });

  for (const host of [
    'registry.example',
    'registry.example:443',
    'REGISTRY.example:5000',
    '[::1]:8443',
    '192.0.2.1',
  ]) {
    test(`Host as the client sent it: ${host}`, async () => {
      const received = await forwarded(head('GET /v2/ HTTP/1.1', `Host: ${host}`, `Authorization: ${basic}`));
      assert.deepEqual(values(received, 'host'), [host]);
      assert.deepEqual(values(received, 'x-forwarded-host'), [host]);
    });
  }

  test('a client of HTTP/1.0 without Host', async () => {
    const received = await forwarded(head('GET /v2/ HTTP/1.0', `Authorization: ${basic}`));
    assert.equal(received.startLine, 'GET /v2/ HTTP/1.1');
    assert.deepEqual(values(received, 'host'), [`127.0.0.1:${upstream.port}`]);
    assert.deepEqual(values(received, 'x-forwarded-host'), []);
  });

  test(
    'curl over HTTP/1.0, which says so in the TLS handshake',
    { skip: unlessInstalled('curl') },
    async () => {
      const curl = await run('curl', [
        ...['--silent', '--show-error', '--fail', '--http1.0', '--cacert', frontDoor.caPath],
        ...['--user', `${user}:${password}`, `https://localhost:${frontDoor.port}/v2/app/blobs/x`],
      ]);
      assert.deepEqual(curl, { code: 0, stdout: 'ok', stderr: '' });
    },
  );

  for (const [method, length] of [
    ['POST', 0],
    ['PUT', 3],
    ['PATCH', 3],
    ['DELETE', 3],
    ['OPTIONS', 3],
  ] as const) {
    test(`${method} with Content-Length ${length} stays so`, async () => {
      const received = await forwarded(
        authorized(`${method} /v2/app/blobs/uploads/`, `Content-Length: ${length}`),
        'abc'.slice(0, length),
      );
      assert.deepEqual(values(received, 'content-length'), [String(length)]);
      assert.deepEqual(values(received, 'transfer-encoding'), []);
      assert.equal((await received.body()).body.toString(), 'abc'.slice(0, length));
    });
  }

  for (const method of ['POST', 'PUT', 'PATCH']) {
    test(`${method} in chunks stays so, without the client's chunk extensions and trailers`, async () => {
      const received = await forwarded(
        authorized(`${method} /v2/app/blobs/uploads/1`, 'transfer-encoding: Chunked', 'Trailer: X-T'),
        '3;ext=1\r\nabc\r\n',
        'a\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n',
      );
      assert.deepEqual(values(received, 'content-length'), []);
      assert.deepEqual(values(received, 'transfer-encoding'), ['chunked']);
      const { body, trailers } = await received.body();
      assert.equal(body.toString(), 'abc0123456789');
      assert.deepEqual(trailers, []);
    });
  }

  test('a body without any length is no body', async () => {
    const received = await forwarded(authorized('POST /v2/app/blobs/uploads/'));
    assert.equal((await received.body()).body.length, 0);
  });

  test('one connection of a client carries many requests', async () => {
    const client = await connectClient(frontDoor);
    for (let i = 0; i < 5; i++) {
      client.send(authorized(`GET /v2/app/blobs/${i}`));
      assert.equal((await client.response()).body.toString(), 'ok');
      client.send(authorized(`PUT /v2/app/blobs/uploads/${i}`, 'Content-Length: 2'), 'hi');
      assert.equal((await client.response()).body.toString(), 'ok');
    }
    client.leave();
  });

  test('open paths pass without credentials, and take none along', async () => {
    const received = await forwarded(anonymous('GET /v1/_ping'));
    assert.equal(received.startLine, 'GET /v1/_ping HTTP/1.1');
    const withPassword = await forwarded(authorized('GET /_ping'));
    assert.deepEqual(values(withPassword, 'authorization'), []);
  });
});
