import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { maxLineBytes, readLogLines } from '../../../src/telemetry/log/log-lines.ts';
import { parseLoggedRequest } from '../../../src/telemetry/log/logged-request.ts';

async function linesOf(...chunks: readonly Uint8Array[]): Promise<(string | null)[]> {
  const lines: (string | null)[] = [];
  const source = Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
  for await (const line of readLogLines(source)) lines.push(line);
  return lines;
}

const bytes = (text: string) => Buffer.from(text);

describe('the lines of a log', () => {
  it('are whole wherever its pieces end, and the last needs no line feed', async () => {
    const text = 'ä\nbb\r\n\n  \nccc';
    const expected = ['ä', 'bb', 'ccc'];
    for (let size = 1; size <= bytes(text).length; size += 1) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes(text).length; at += size) pieces.push(bytes(text).subarray(at, at + size));
      assert.deepEqual(await linesOf(...pieces), expected, `pieces of ${size}`);
    }
    assert.deepEqual(await linesOf(), []);
    assert.deepEqual(await linesOf(bytes('x')), ['x']);
  });

  it('are unpacked, also where several packed ones follow each other', async () => {
    const packed = Buffer.concat([gzipSync('a\nb'), gzipSync('c\nd\n')]);
    assert.deepEqual(await linesOf(packed.subarray(0, 1), packed.subarray(1)), ['a', 'bc', 'd']);
    await assert.rejects(linesOf(packed.subarray(0, 12)), /unexpected end of file/);
  });

  it('have an end: a longer one is null, and the next is read', async () => {
    const long = Buffer.alloc(maxLineBytes + 1, 'x');
    assert.deepEqual(await linesOf(bytes('a\n'), long, long, bytes('x\nb\n')), ['a', null, 'b']);
    assert.deepEqual(await linesOf(Buffer.concat([long, bytes('\nb\n')])), [null, 'b']);
    const longest = Buffer.alloc(maxLineBytes, 'x');
    assert.deepEqual(await linesOf(longest, bytes('\n')), [longest.toString()]);
  });
});

describe('a line', () => {
  it('is a request in either form', () => {
    const expected = {
      user: 'bob',
      client: '10.1.2.3',
      method: 'GET',
      path: '/v2/',
      status: 200,
      code: null,
      reason: 'x',
    };
    const json = {
      msg: 'request',
      user: 'bob',
      client: '10.1.2.3',
      method: 'GET',
      path: '/v2/',
      status: 200,
      reason: 'x',
    };
    assert.deepEqual(parseLoggedRequest(JSON.stringify(json)), expected);
    const ecs = {
      'ecs.version': '8.11.0',
      message: 'request',
      'user.name': 'bob',
      'client.address': '10.1.2.3',
      'http.request.method': 'GET',
      'url.path': '/v2/',
      'http.response.status_code': 200,
      'event.reason': 'x',
    };
    assert.deepEqual(parseLoggedRequest(JSON.stringify(ecs)), expected);
  });

  it('is about something else, or broken', () => {
    assert.equal(parseLoggedRequest('{"msg":"listening"}'), 'other');
    assert.equal(parseLoggedRequest('{"ecs.version":"8.11.0","message":"push"}'), 'other');
    for (const text of ['{"msg":"req', '5', 'null', '[]', '{}', '{"msg":"request"}', '{"message":"request"}'])
      assert.equal(parseLoggedRequest(text), 'broken', text);
  });
});
