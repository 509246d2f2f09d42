import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, authorized, errorCode, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const encode = (text: string | Buffer) => Buffer.from(text).toString('base64');

describe('who may pass', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['auth.realm=Our Registry'] });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  /** The status, and whether upstream was asked. */
  const ask = async (request: string) => {
    const seenBefore = upstream.requests.length;
    const response = await exchange(frontDoor, request);
    return { response, status: response.status, forwarded: upstream.requests.length > seenBefore };
  };

  for (const path of ['/_ping', '/v1/_ping', '/_ping?x=1']) {
    test(`${path} is open for GET and HEAD`, async () => {
      for (const method of ['GET', 'HEAD'])
        assert.equal((await ask(anonymous(`${method} ${path}`))).status, 200);
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const { status, forwarded } = await ask(anonymous(`${method} ${path}`, 'Content-Length: 0'));
        assert.deepEqual({ status, forwarded }, { status: 401, forwarded: false });
      }
    });
  }

  for (const path of [
    '/_ping/',
    '/_ping/x',
    '/_pingx',
    '/_PING',
    '/%5fping',
    '/_ping;x',
    '/v1/_ping/',
    '/v1/%5Fping',
    '/v2/_ping',
    '/_ping%20',
  ]) {
    test(`${path} is not`, async () => {
      const { status, forwarded } = await ask(anonymous(`GET ${path}`));
      assert.deepEqual({ status, forwarded }, { status: 401, forwarded: false });
    });
  }

  for (const path of [
    '/',
    '/v1/',
    '/v1/users',
    '/v2',
    '/v2/_catalog',
    '/v2/app/manifests/latest',
    '/v2/app/blobs/sha256:0',
  ]) {
    test(`${path} needs credentials`, async () => {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const lines = ['Content-Length: 0'];
        const { response, forwarded } = await ask(anonymous(`${method} ${path}`, ...lines));
        assert.equal(response.status, 401);
        assert.equal(forwarded, false);
        assert.deepEqual(values(response, 'www-authenticate'), ['Basic realm="Our Registry"']);
        assert.deepEqual(values(response, 'content-type'), ['application/json']);
        if (method !== 'HEAD') assert.equal(errorCode(response), 'UNAUTHORIZED');
        assert.equal((await ask(authorized(`${method} ${path}`, ...lines))).status, 200);
      }
    });
  }

  for (const path of [
    '/v3/',
    '/x',
    '/v2x',
    '/V2/',
    '/v1x/',
    '/favicon.ico',
    '/metrics',
    '/.well-known/x',
    '/v2%20/',
    '/debug/vars',
  ]) {
    test(`${path} is outside: 401 to strangers, 404 to users, never forwarded`, async () => {
      const stranger = await ask(anonymous(`GET ${path}`));
      assert.deepEqual([stranger.status, stranger.forwarded], [401, false]);
      const known = await ask(authorized(`GET ${path}`));
      assert.deepEqual([known.status, known.forwarded], [404, false]);
      assert.equal(errorCode(known.response), 'NOT_FOUND');
    });
  }

  test('a method that no registry knows: 405 with Allow; one that HTTP does not: 400', async () => {
    for (const method of ['TRACE', 'PROPFIND', 'LOCK', 'MKCOL']) {
      assert.equal((await ask(anonymous(`${method} /v2/x`))).status, 401);
      const { response, forwarded } = await ask(authorized(`${method} /v2/x`));
      assert.deepEqual([response.status, forwarded, errorCode(response)], [405, false, 'UNSUPPORTED']);
      assert.deepEqual(values(response, 'allow'), ['GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']);
    }
    for (const method of ['FROB', 'get', 'G ET']) {
      const { response, forwarded } = await ask(authorized(`${method} /v2/x`));
      assert.deepEqual([response.status, forwarded, errorCode(response)], [400, false, 'BAD_REQUEST']);
    }
  });

  const right = `${user}:${password}`;
  for (const [what, ...lines] of [
    ['a wrong password', `Authorization: Basic ${encode(`${right}x`)}`],
    ['no password', `Authorization: Basic ${encode(`${user}:`)}`],
    ['no colon', `Authorization: Basic ${encode(user)}`],
    ['an unknown name', `Authorization: Basic ${encode(`bob:${password}`)}`],
    ['a name in another case', `Authorization: Basic ${encode(`Alice:${password}`)}`],
    ['a name with a space', `Authorization: Basic ${encode(`${user} :${password}`)}`],
    ['an empty name', `Authorization: Basic ${encode(`:${password}`)}`],
    ['the name of a property of every object', `Authorization: Basic ${encode('__proto__:x')}`],
    ['another such name', `Authorization: Basic ${encode('constructor:x')}`],
    ['a NUL after the name', `Authorization: Basic ${encode(`${user}\0:${password}`)}`],
    ['a NUL after the password', `Authorization: Basic ${encode(`${right}\0`)}`],
    ['a newline in it', `Authorization: Basic ${encode(`${right}\n`)}`],
    ['what is not UTF-8', `Authorization: Basic ${encode(Buffer.from([0xff, 0xfe, 0x3a, 0xff]))}`],
    ['what is not base64', 'Authorization: Basic !!!!'],
    ['base64 with stray bits', `Authorization: Basic ${encode('a:b').slice(0, -1)}`],
    ['too much padding', `Authorization: Basic ${encode(right)}====`],
    ['base64url', 'Authorization: Basic _-_-'],
    ['nothing after the scheme', 'Authorization: Basic'],
    ['a space after the scheme', 'Authorization: Basic '],
    ['an empty value', 'Authorization:'],
    ['no scheme', `Authorization: ${encode(right)}`],
    ['a tab instead of the space', `Authorization: Basic\t${encode(right)}`],
    ['two credentials in one', `Authorization: Basic ${encode(right)}, Basic ${encode(right)}`],
    ['the header twice', `Authorization: ${basic}`, `Authorization: ${basic}`],
    ['the header twice, the second wrong', `Authorization: ${basic}`, 'authorization: Basic eDp5'],
    ['Bearer', 'Authorization: Bearer eyJhbGciOiJub25lIn0.e30.'],
    ['Digest', `Authorization: Digest username="${user}"`],
    ['a Token that upstream never issued', 'Authorization: Token signature=1,repository="a/b",access=write'],
    ['an empty Token', 'Authorization: Token '],
    ['Proxy-Authorization', `Proxy-Authorization: ${basic}`],
    ['a Latin-1 byte', 'Authorization: Basic \xe9\xe9\xe9'],
    ['a password of 20 KiB', `Authorization: Basic ${encode(`${user}:${'x'.repeat(20_000)}`)}`],
    ['an underscore for the hyphen', `Authori_zation: ${basic}`],
  ] as const) {
    test(`Authorization with ${what}: 401, never 500, nothing forwarded`, async () => {
      const { response, forwarded } = await ask(head('GET /v2/app/blobs/x HTTP/1.1', 'Host: x', ...lines));
      assert.deepEqual([response.status, forwarded, errorCode(response)], [401, false, 'UNAUTHORIZED']);
    });
  }

  test('the scheme is read in any case', async () => {
    for (const scheme of ['Basic', 'basic', 'BASIC', 'Basic '])
      assert.equal(
        (await ask(anonymous('GET /v2/x', `Authorization: ${scheme} ${encode(right)}`))).status,
        200,
      );
  });

  test('answers of the front door name a request that the log knows, and leak nothing', async () => {
    const { response } = await ask(anonymous('GET /v2/secret?token=x', 'Authorization: Basic eDp5'));
    const { errors } = JSON.parse(response.body.toString()) as {
      errors: [{ detail: string }];
    };
    const line = await frontDoor.logged(
      (entry) => `request id ${String(entry['requestId'])}` === errors[0].detail,
    );
    assert.equal(line['status'], 401);
    assert.doesNotMatch(response.body.toString() + response.head, /<|stack|at \/|127\.0\.0\.1|eDp5|node/i);
  });
});
