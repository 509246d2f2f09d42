import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { canonicalTargets, refusedTargets, targetPieces } from '../support/cases/targets.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { authorized, connectClient, errorCode, exchange } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('request targets', { timeout: 360_000 }, () => {
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

  for (const [target, attack] of refusedTargets) {
    test(`${JSON.stringify(target)} ${attack}: 400, never forwarded`, async () => {
      const seenBefore = upstream.requests.length;
      const response = await exchange(frontDoor, authorized(`GET ${target}`));
      assert.equal(response.status, 400);
      assert.equal(errorCode(response), 'BAD_REQUEST');
      assert.equal(upstream.requests.length, seenBefore);
    });
  }

  for (const target of canonicalTargets) {
    test(`${target} arrives as it is`, async () => {
      const response = await exchange(frontDoor, authorized(`GET ${target}`));
      assert.equal(response.status, 200, response.body.toString());
      assert.equal(upstream.requests.at(-1)?.startLine, `GET ${target} HTTP/1.1`);
    });
  }

  test('whatever is accepted arrives byte for byte; whatever is not never arrives', async () => {
    const piece = fc.oneof(
      fc.constantFrom(...targetPieces),
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
