import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { authorized, connectClient, errorCode, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** What must be refused with 400, and which attack it would be. */
const attacks: readonly [target: string, attack: string][] = [
  ['*', 'asks for the server as a whole'],
  ['v2/', 'does not begin with a slash'],
  ['?x', 'has no path'],
  ['http://registry.example/v2/', 'is absolute: its host could be another than Host'],
  ['https://user:secret@registry.example/v2/', 'is absolute, with a password'],
  ['//evil.example/v2/', 'is a network-path reference'],
  ['/\\evil.example/v2/', 'is one to readers that take \\ for /'],
  ['/v2//x', 'has an empty segment'],
  ['//v2/x', 'begins with one'],
  ['/v2/x//', 'ends with one'],
  ['/v2/./x', 'has a dot segment'],
  ['/v2/../v1/x', 'climbs'],
  ['/_ping/../v2/x', 'climbs from an open path'],
  ['/v2/..', 'climbs at the end'],
  ['/v2/.', 'has a dot segment at the end'],
  ['/..', 'climbs above the root'],
  ['/v2/%2e%2e/v1/x', 'climbs, encoded'],
  ['/v2/%2E%2E/v1/x', 'climbs, encoded in capitals'],
  ['/v2/.%2e/v1/x', 'climbs, half encoded'],
  ['/v2/%2e/x', 'has an encoded dot segment'],
  ['/v2/..;a=b/v1/x', 'climbs for readers that strip parameters'],
  ['/v2/%2e%2e;/v1/x', 'climbs for them, encoded'],
  ['/v2/..%3b/v1/x', 'climbs for them, the semicolon encoded'],
  ['/v2/x%2fy', 'has an encoded slash'],
  ['/v2/..%2f..%2fv1/x', 'climbs by encoded slashes'],
  ['/v2%2F', 'has an encoded slash for the version check'],
  ['/_ping%2f..%2fv2/x', 'climbs from an open path by them'],
  ['/v2/x%5cy', 'has an encoded backslash'],
  ['/v2/..%5C..%5Cx', 'climbs by encoded backslashes'],
  ['/v2/..\\x', 'climbs by a backslash'],
  ['/v2\\x', 'has a backslash'],
  ['/v2/%00', 'has an encoded NUL'],
  ['/v2/x%0d%0aX-Evil:%201', 'has an encoded CRLF'],
  ['/v2/x%0a', 'has an encoded LF'],
  ['/v2/x%09', 'has an encoded tab'],
  ['/v2/x%7f', 'has an encoded DEL'],
  ['/v2/x%1F', 'has an encoded control character'],
  ['/v2/%', 'ends in a percent sign'],
  ['/v2/%4', 'ends in half an encoding'],
  ['/v2/%zz', 'has no hexadecimal after a percent sign'],
  ['/v2/%u002e', 'has the encoding of one vendor'],
  ['/v2/%252e%252e/x', 'climbs for who decodes twice'],
  ['/v2/x%252fy', 'has a slash for who decodes twice'],
  ['/v2/x%2500', 'has a NUL for who decodes twice'],
  ['/v2/%c0%ae%c0%ae/x', 'climbs in overlong UTF-8'],
  ['/v2/%c0%af', 'has a slash in overlong UTF-8'],
  ['/v2/%ff', 'is not UTF-8'],
  ['/v2/%ed%a0%80', 'is half a surrogate pair'],
  ['/v2/x#y', 'has a fragment'],
  ['/_ping#/v2/x', 'has one after an open path'],
  ['/v2/x?y#z', 'has one in the query'],
  ['/v2/x"y', 'has a quote'],
  ['/v2/<x>', 'has angle brackets'],
  ['/v2/{x}', 'has braces'],
  ['/v2/x|y', 'has a bar'],
  ['/v2/x^y', 'has a caret'],
  ['/v2/x`y', 'has a backtick'],
  ['/v2/[x]', 'has brackets'],
  ['/v2/caf\xe9', 'has a raw byte above ASCII'],
  ['/v2/x\x7f', 'has a raw DEL'],
  ['/v2/x\x01', 'has a raw control byte'],
  ['/v2/x?\x01', 'has a raw control byte in the query'],
  ['/v2/x?\x7f', 'has a raw DEL in the query'],
  ['/v2/x y', 'has a space'],
];

/** What must pass, byte for byte: a proxy's clean-up of it would change what it means. */
const accepted: readonly string[] = [
  '/',
  '/v1/',
  '/v2',
  '/v2/',
  '/v2/_catalog?n=100&last=a%2Fb',
  '/v2/app/manifests/sha256:0a',
  '/v2/app/manifests/sha256%3A0a',
  '/v2/app/manifests/sha256%3a0A',
  '/v2/App/Manifests/LATEST',
  '/v2/%61pp/manifests/latest',
  '/v2/app/manifests/v1.0..2',
  '/v2/..x/...',
  '/v2/.well-known/x',
  '/v2/x/',
  "/v2/a-b_c~d!$&'()*+,;=:@e",
  '/v2/caf%C3%A9',
  '/v2/x%20y',
  '/v2/x%25y',
  '/v2/x?',
  '/v2/x??',
  '/v2/x?a=1&&b',
  '/v2/x?a//b/../c/./%2e%2e%2f\\..\\%5c',
  '/v2/x?u=http://127.0.0.1//x',
  '/v2/x?%zz%',
  '/v2/x?_state=a+b%20c==&digest=sha256:0',
  '/v2/x?"<>[]{}|^`',
];

describe('request targets', { timeout: 120_000 }, () => {
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

  for (const [target, attack] of attacks) {
    test(`${JSON.stringify(target)} ${attack}: 400, never forwarded`, async () => {
      const seenBefore = upstream.requests.length;
      const response = await exchange(frontDoor, authorized(`GET ${target}`));
      assert.equal(response.status, 400);
      assert.equal(errorCode(response), 'BAD_REQUEST');
      assert.equal(upstream.requests.length, seenBefore);
    });
  }

  for (const target of accepted) {
    test(`${target} arrives as it is`, async () => {
      const response = await exchange(frontDoor, authorized(`GET ${target}`));
      assert.equal(response.status, 200, response.body.toString());
      assert.equal(upstream.requests.at(-1)?.startLine, `GET ${target} HTTP/1.1`);
    });
  }

  test('whatever is accepted arrives byte for byte; whatever is not never arrives', async () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '/',
        '//',
        '.',
        '..',
        '%2e',
        '%2F',
        '%5c',
        '\\',
        '?',
        '#',
        '%',
        '%25',
        ';',
        ':',
        '@',
        '&',
        '=',
        'v2',
        '_ping',
      ),
      fc.integer({ min: 0x21, max: 0xff }).map((code) => String.fromCharCode(code)),
      fc.integer({ min: 0, max: 0xff }).map((code) => `%${code.toString(16).padStart(2, '0')}`),
      fc.stringMatching(/^[a-z0-9._-]{1,8}$/),
    );
    const targets = fc.array(piece, { maxLength: 12 }).map((pieces) => `/v2/${pieces.join('')}`);
    let acceptedCount = 0;
    await fc.assert(
      fc.asyncProperty(targets, async (target) => {
        const seenBefore = upstream.requests.length;
        const client = await connectClient(frontDoor);
        client.send(authorized(`GET ${target}`));
        const { status } = await client.response();
        client.leave();
        const seen = upstream.requests.slice(seenBefore).map(({ startLine }) => startLine);
        if (status === 200) {
          acceptedCount += 1;
          assert.deepEqual(seen, [`GET ${target} HTTP/1.1`]);
          // What upstream would make of the path stays in the registry's space, however often it resolves it.
          const [path = ''] = target.split('?');
          assert.ok(new URL(`http://x${path}`).pathname === path, 'a URL parser reads the same path');
          assert.ok(decodeURIComponent(path).startsWith('/v2/'));
        } else {
          assert.equal(status, 400);
          assert.deepEqual(seen, []);
        }
      }),
      { numRuns: 250 },
    );
    assert.ok(acceptedCount > 20, `${acceptedCount} targets were accepted`);
  });
});
