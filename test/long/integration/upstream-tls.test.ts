import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { copyCertificate } from '../../support/certificate-files.ts';
import { startFrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { authorized, errorCode, exchange } from '../../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');

describe('an upstream over https', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let dir: string;
  let ca: string;
  let otherCa: string;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    // A CA of its own, and a certificate for 127.0.0.1, ::1 and this name only.
    await copyCertificate(path.join(dir, 'up'), ['upstream.example']);
    await copyCertificate(path.join(dir, 'other'), ['other.example']);
    ca = path.join(dir, 'up/ca.crt');
    otherCa = path.join(dir, 'other/ca.crt');
    upstream = await startUpstream({
      script: answerOk,
      tls: {
        cert: await readFile(path.join(dir, 'up/server.crt'), 'utf8'),
        key: await readFile(path.join(dir, 'up/server.key'), 'utf8'),
      },
    });
  });
  after(async () => {
    await upstream.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('with the CA that signed it, it works, whatever Host the client names', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: [`upstream.ca=${ca}`] });
    for (const request of [
      get,
      get,
      authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 3') + 'abc',
    ]) {
      assert.equal((await exchange(frontDoor, request)).body.toString(), 'ok');
    }
    assert.deepEqual(values(upstream.requests.at(-1) ?? assert.fail(), 'x-forwarded-proto'), ['https']);
    await frontDoor.stop();
  });

  test('a CA file without a certificate does not mean the public CAs: it does not start', async () => {
    const empty = path.join(dir, 'empty.crt');
    await writeFile(empty, '');
    await assert.rejects(
      startFrontDoor({ upstreamUrl: upstream.url, set: [`upstream.ca=${empty}`] }),
      /empty\.crt holds no certificate/,
    );
  });

  for (const [what, settings, url, reason] of [
    ['no CA', () => [], () => upstream.url, /set upstream\.ca/],
    ['another CA', () => [`upstream.ca=${otherCa}`], () => upstream.url, /certificate.*(upstream\.ca|CA)/],
    [
      'a name that the certificate is not for',
      () => [`upstream.ca=${ca}`],
      () => `https://localhost:${upstream.port}`,
      /another name than the one in upstream\.url/,
    ],
    [
      'http:// in its url',
      () => [],
      () => `http://127.0.0.1:${upstream.port}`,
      /closed the connection|not valid HTTP/,
    ],
  ] as const) {
    test(`with ${what}: 502, nothing is sent, and a log line says why`, async () => {
      const seenBefore = upstream.requests.length;
      const frontDoor = await startFrontDoor({ upstreamUrl: url(), set: settings() });
      const response = await exchange(frontDoor, get);
      assert.equal(response.status, 502);
      assert.equal(errorCode(response), 'BAD_GATEWAY');
      const line = await frontDoor.logged(({ msg }) => msg.startsWith('The registry'));
      assert.match(line.msg, reason);
      assert.equal(upstream.requests.length, seenBefore);
      await frontDoor.stop();
    });
  }

  test('https:// in the url of one that speaks plain HTTP: 502, and a log line says so', async () => {
    const plain = createServer((socket) => {
      socket.once('data', () => socket.end(head('HTTP/1.1 400 Bad Request', 'Content-Length: 0')));
    });
    plain.listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const frontDoor = await startFrontDoor({
      upstreamUrl: `https://127.0.0.1:${(plain.address() as AddressInfo).port}`,
    });
    assert.equal((await exchange(frontDoor, get)).status, 502);
    const line = await frontDoor.logged(({ msg }) => msg.startsWith('The registry'));
    assert.match(line.msg, /should upstream\.url begin with http:/);
    await frontDoor.stop();
    plain.close();
  });
});

describe('an upstream with a password of its own', { timeout: 240_000 }, () => {
  const encode = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  test('gets its own credentials in place of the client’s, also where the client sent none', async () => {
    const upstream = await startUpstream({ script: answerOk });
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['upstream.username=front-door'],
      env: { TIDEGATE_UPSTREAM_PASSWORD: 'grüße: 1' },
    });
    for (const request of [
      get,
      authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 0'),
      authorized('GET /_ping').replace(/Authorization: .*\r\n/, ''),
    ]) {
      assert.equal((await exchange(frontDoor, request)).status, 200);
      assert.deepEqual(values(upstream.requests.at(-1) ?? assert.fail(), 'authorization'), [
        encode('front-door:grüße: 1'),
      ]);
    }
    await frontDoor.stop();
    await upstream.close();
  });

  for (const [what, set, hint] of [
    ['no', [], 'set upstream.username and upstream.password'],
    ['wrong', ['upstream.username=a', 'upstream.password=b'], 'does not accept upstream.username'],
  ] as const) {
    test(`with ${what} credentials: its 401 comes through, and a log line says what to do`, async () => {
      const upstream = await startUpstream({
        script: (request) =>
          request.answer(
            head('HTTP/1.1 401 Unauthorized', 'WWW-Authenticate: Basic realm="up"', 'Content-Length: 0'),
          ),
      });
      const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set });
      const response = await exchange(frontDoor, get);
      assert.equal(response.status, 401);
      assert.deepEqual(values(response, 'www-authenticate'), ['Basic realm="up"']);
      await frontDoor.logged(({ msg }) => msg.includes(hint));
      await frontDoor.stop();
      await upstream.close();
    });
  }
});
