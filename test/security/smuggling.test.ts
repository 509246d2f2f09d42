import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { framingAttacks, smuggledBelow } from '../support/cases/framing.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked, head, values } from '../support/http-message.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** What an attacker would like to see arrive as a request of its own. */
const smuggled = smuggledBelow('/v2/app/');
const host = 'Host: registry.example';

describe('request smuggling, on raw sockets', { timeout: 240_000 }, () => {
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

  for (const [what, expected, ...bytes] of framingAttacks('/v2/app/')) {
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
