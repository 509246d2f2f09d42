import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { basic, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, head, values } from '../support/http-message.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** What an attacker would like to see arrive as a request of its own. */
const smuggled = authorized('GET /v2/smuggled');
const host = 'Host: registry.example';
const credentials = `Authorization: ${basic}`;

describe('request smuggling, on raw sockets', { timeout: 60_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let seenBefore = 0;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['limits.refusedBodyTimeout=200ms'],
    });
  });
  beforeEach(() => {
    seenBefore = upstream.requests.length;
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  /**
   * Sends bytes; gives the status of the answer once the connection has been closed behind it, or 0 when it was closed
   * without one: no answer may be given to what stands behind a request that is still to be answered.
   */
  const refused = async (...bytes: string[]): Promise<number> => {
    const client = await connectClient(frontDoor);
    client.send(bytes.join('')); // at once: what came later could reset the connection before the answer is read
    const line = await client.reader.until('\r\n');
    if (line === null) return 0;
    const status = Number(line.split(' ')[1]);
    assert.ok(status >= 400, `answered ${status}`);
    assert.doesNotMatch((await client.rest()).toString(), /^HTTP\/1/m, 'nothing comes after it');
    return status;
  };

  const put = 'PUT /v2/app/blobs/uploads/1 HTTP/1.1';
  const attacks: readonly [what: string, expected: readonly number[], ...bytes: string[]][] = [
    [
      'CL.TE',
      [400],
      head(put, host, credentials, 'Content-Length: 5', 'Transfer-Encoding: chunked'),
      '0\r\n\r\n',
      smuggled,
    ],
    [
      'TE.CL',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: chunked', 'Content-Length: 4'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE.TE, two lines',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE.TE, identity last',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE.TE, a list',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: chunked, identity'),
      chunked('abc'),
      smuggled,
    ],
    ['TE identity', [400], head(put, host, credentials, 'Transfer-Encoding: identity'), smuggled],
    [
      'TE gzip, chunked',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: gzip, chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE xchunked',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: xchunked'),
      chunked('abc'),
      smuggled,
    ],
    ['TE empty', [400], head(put, host, credentials, 'Transfer-Encoding:'), smuggled],
    [
      'TE quoted',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: "chunked"'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE with a vertical tab',
      [400],
      head(put, host, credentials, 'Transfer-Encoding: \x0bchunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE with a space before the colon',
      [400],
      head(put, host, credentials, 'Transfer-Encoding : chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE in a name of its own',
      [400],
      head(put, host, credentials, 'Content-Length: 3', 'X: y\nTransfer-Encoding: chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'TE with HTTP/1.0',
      [400, 0],
      head('PUT /v2/app/blobs/uploads/1 HTTP/1.0', host, credentials, 'Transfer-Encoding: chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'two lengths that differ',
      [400],
      head(put, host, credentials, 'Content-Length: 0', 'Content-Length: 5'),
      smuggled,
    ],
    [
      'two lengths that agree',
      [400],
      head(put, host, credentials, 'Content-Length: 3', 'Content-Length: 3'),
      'abc',
      smuggled,
    ],
    ['two lengths in a list', [400], head(put, host, credentials, 'Content-Length: 3, 3'), 'abc', smuggled],
    ['a negative length', [400], head(put, host, credentials, 'Content-Length: -1'), smuggled],
    ['a length with a sign', [400], head(put, host, credentials, 'Content-Length: +3'), 'abc', smuggled],
    ['a length in hexadecimal', [400], head(put, host, credentials, 'Content-Length: 0x3'), 'abc', smuggled],
    [
      'a length with a space in it',
      [400],
      head(put, host, credentials, 'Content-Length: 3 3'),
      'abc',
      smuggled,
    ],
    [
      'a length beyond 63 bits',
      [400],
      head(put, host, credentials, 'Content-Length: 9223372036854775808'),
      'abc',
      smuggled,
    ],
    [
      'a length beyond 2^64',
      [400],
      head(put, host, credentials, 'Content-Length: 18446744073709551617'),
      'a',
      smuggled,
    ],
    [
      'a length before which stands a space',
      [400],
      head(put, host, credentials, 'Content-Length : 3'),
      'abc',
      smuggled,
    ],
    ['a bare LF between headers', [400], head(put, `${host}\n${credentials}`, 'Content-Length: 0'), smuggled],
    ['a bare CR between headers', [400], head(put, `${host}\r${credentials}`, 'Content-Length: 0'), smuggled],
    ['a bare CR in a header', [400], head(put, host, credentials, 'X: a\rb', 'Content-Length: 0'), smuggled],
    ['a NUL in a header', [400], head(put, host, credentials, 'X: a\0b', 'Content-Length: 0'), smuggled],
    ['a NUL in a name', [400], head(put, host, credentials, 'X\0: a', 'Content-Length: 0'), smuggled],
    [
      'a folded header',
      [400],
      head(put, host, credentials, 'X: a', ' Content-Length: 5', 'Content-Length: 0'),
      smuggled,
    ],
    [
      'a folded Transfer-Encoding',
      [400],
      head(put, host, credentials, 'Transfer-Encoding:', ' chunked'),
      chunked('abc'),
      smuggled,
    ],
    [
      'a first header that is folded',
      [400],
      head(put, ` ${host}`, credentials, 'Content-Length: 0'),
      smuggled,
    ],
    ['a header without colon', [400], head(put, host, credentials, 'X', 'Content-Length: 0'), smuggled],
    ['a header without name', [400], head(put, host, credentials, ': x', 'Content-Length: 0'), smuggled],
    [
      'DELETE in chunks',
      [411],
      head('DELETE /v2/app/manifests/x HTTP/1.1', host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'OPTIONS in chunks',
      [411],
      head('OPTIONS /v2/app/manifests/x HTTP/1.1', host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'GET in chunks',
      [411],
      head('GET /v2/app/manifests/x HTTP/1.1', host, credentials, 'Transfer-Encoding: chunked'),
      chunked(smuggled),
    ],
    [
      'HEAD in chunks',
      [411],
      head('HEAD /v2/app/manifests/x HTTP/1.1', host, credentials, 'Transfer-Encoding: chunked'),
    ],
    [
      'GET with a body',
      [400],
      head('GET /v2/app/manifests/x HTTP/1.1', host, credentials, `Content-Length: ${smuggled.length}`),
      smuggled,
    ],
    ['two Hosts', [400], head('GET /v2/x HTTP/1.1', host, 'Host: other.example', credentials), smuggled],
    ['no Host', [400], head('GET /v2/x HTTP/1.1', credentials), smuggled],
    ['an empty Host', [400], head('GET /v2/x HTTP/1.1', 'Host:', credentials), smuggled],
    ['a Host with a path', [400], head('GET /v2/x HTTP/1.1', 'Host: a/b', credentials), smuggled],
    ['a Host with a user', [400], head('GET /v2/x HTTP/1.1', 'Host: a@b', credentials), smuggled],
    ['a Host with two ports', [400], head('GET /v2/x HTTP/1.1', 'Host: a:1:2', credentials), smuggled],
    ['a Host with a query', [400], head('GET /v2/x HTTP/1.1', 'Host: a?b', credentials), smuggled],
    ['a Host list', [400], head('GET /v2/x HTTP/1.1', 'Host: a, b', credentials), smuggled],
    ['a tab at the end of the target', [400], head('GET /v2/x\t HTTP/1.1', host, credentials), smuggled],
    ['HTTP/0.9', [400, 0], 'GET /v2/x\r\n\r\n', smuggled],
    ['HTTP/2 preface', [400], 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['HTTP/1.2', [400], head('GET /v2/x HTTP/1.2', host, credentials), smuggled],
    ['HTTP/0.9 with fields', [400], head('GET /v2/x HTTP/0.9', host, credentials)],
    ['HTTP/2.0 in text', [400], head('GET /v2/x HTTP/2.0', host, credentials)],
    ['CONNECT', [405], head('CONNECT 127.0.0.1:5000 HTTP/1.1', host, credentials), smuggled],
  ];
  for (const [what, expected, ...bytes] of attacks) {
    test(`${what}: refused, closed, nothing forwarded`, async () => {
      const status = await refused(...bytes);
      assert.ok(expected.includes(status), `${status}`);
      assert.equal(upstream.requests.length, seenBefore);
    });
  }

  test("after any of these, another client gets its own answer, not an attacker's", async () => {
    for (const method of ['DELETE', 'OPTIONS']) {
      await refused(
        authorized(`${method} /v2/app/manifests/x`, 'Transfer-Encoding: chunked'),
        chunked(smuggled),
      );
      const victim = await connectClient(frontDoor);
      victim.send(authorized('GET /v2/victim'));
      assert.equal((await victim.response()).status, 200);
      assert.equal(upstream.requests.at(-1)?.startLine, 'GET /v2/victim HTTP/1.1');
      victim.leave();
    }
    assert.ok(upstream.requests.every(({ startLine }) => !startLine.includes('smuggled')));
  });

  test('nothing is acted upon behind a request that asks for an upgrade, and its answer says that the connection ends', async () => {
    const client = await connectClient(frontDoor);
    client.send(
      authorized('GET /v2/upgrade', 'Connection: Upgrade', 'Upgrade: websocket') + smuggled.slice(0, 9),
    );
    const response = await client.response();
    assert.deepEqual([response.status, values(response, 'connection')], [200, ['close']]);
    client.send(smuggled);
    assert.equal((await client.rest()).length, 0);
    assert.ok(upstream.requests.every(({ startLine }) => !startLine.includes('smuggled')));
  });

  test('a body with Content-Length ends exactly there: what follows is the next request, with its own credentials checked', async () => {
    const client = await connectClient(frontDoor);
    client.send(
      authorized('DELETE /v2/app/manifests/x', 'Content-Length: 3'),
      'abc',
      head('GET /v2/next HTTP/1.1', host),
    );
    assert.equal((await client.response()).status, 200);
    assert.equal((await client.response()).status, 401);
    assert.ok(upstream.requests.every(({ startLine }) => !startLine.includes('/v2/next')));
    client.leave();
  });
});
