import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, head } from '../support/http-message.ts';
import { authorized, errorCode, exchange } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');

describe('an upstream that answers with what is no valid HTTP', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let answer: readonly string[] = [];
  before(async () => {
    upstream = await startUpstream({
      script: (request) => {
        request.answer(...answer);
        request.socket.end();
      },
    });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  for (const [what, ...bytes] of [
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['an unknown version', head('HTTP/9.9 200 OK', 'Content-Length: 0')],
    ['a status below 100', head('HTTP/1.1 099 Odd', 'Content-Length: 0')],
    ['a status of four digits', head('HTTP/1.1 2000 Odd', 'Content-Length: 0')],
    ['a control character in the reason', head('HTTP/1.1 200 O\x01K', 'Content-Length: 0')],
    ['a control character in a header', head('HTTP/1.1 200 OK', 'X-A: \x01', 'Content-Length: 0')],
    ['a NUL in a header', head('HTTP/1.1 200 OK', 'X-A: a\0b', 'Content-Length: 0')],
    ['a header name with a space', head('HTTP/1.1 200 OK', 'X A: 1', 'Content-Length: 0')],
    ['a header without colon', head('HTTP/1.1 200 OK', 'X-A', 'Content-Length: 0')],
    ['two lengths', head('HTTP/1.1 200 OK', 'Content-Length: 2', 'Content-Length: 3'), 'abc'],
    ['a negative length', head('HTTP/1.1 200 OK', 'Content-Length: -1'), 'abc'],
    [
      'a length and chunks',
      head('HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked'),
      chunked('abc'),
    ],
    [
      'chunks and a length',
      head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 3'),
      chunked('abc'),
    ],
    ['gzip as transfer coding', head('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip'), 'abc'],
    [
      'gzip and chunked as transfer coding',
      head('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'),
      chunked('abc'),
    ],
    ['64 KiB of headers', head('HTTP/1.1 200 OK', `X-Big: ${'x'.repeat(65536)}`, 'Content-Length: 0')],
    [
      'a switch of protocols that nobody asked for',
      head('HTTP/1.1 101 Switching Protocols', 'Upgrade: h2', 'Connection: Upgrade'),
    ],
    ['nothing', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le'],
  ] as const) {
    test(`${what}: 502`, async () => {
      answer = bytes;
      const response = await exchange(frontDoor, get);
      assert.equal(response.startLine, 'HTTP/1.1 502 Bad Gateway');
      assert.equal(errorCode(response), 'BAD_GATEWAY');
      assert.doesNotMatch(response.head + response.body.toString(), /X-A|X-Big|127\.0\.0\.1/);
      answer = [head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok'];
      assert.equal((await exchange(frontDoor, get)).body.toString(), 'ok');
    });
  }
});
