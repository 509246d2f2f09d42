import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { chunkFaults } from '../support/cases/framing.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { chunked } from '../support/http-message.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** What an attacker would like to see arrive as a request of its own. */
const smuggled = authorized('GET /v2/smuggled');

describe('smuggling in chunked bodies, on raw sockets', { timeout: 240_000 }, () => {
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

  for (const [what, body] of chunkFaults) {
    test(`${what}: upstream gets no whole request, and nothing after it`, async () => {
      const path = `/v2/app/blobs/uploads/${encodeURIComponent(what)}`;
      const client = await connectClient(frontDoor);
      client.send(authorized(`PATCH ${path}`, 'Transfer-Encoding: chunked') + body + smuggled);
      await client.rest(); // a 400 or nothing, and the end
      for (const request of upstream.requests.filter(({ startLine }) => startLine.includes(path)))
        assert.equal((await request.body()).complete, false);
      assert.ok(upstream.requests.every(({ startLine }) => !startLine.includes('smuggled')));
    });
  }

  test('a chunked body that looks like requests stays a body', async () => {
    const client = await connectClient(frontDoor);
    const bodies = [smuggled, `0\r\n\r\n${smuggled}`, `\r\n\r\n${smuggled}`];
    for (const body of bodies) {
      client.send(
        authorized('PATCH /v2/app/blobs/uploads/stays', 'Transfer-Encoding: chunked'),
        chunked(body),
      );
      assert.equal((await client.response()).status, 200);
    }
    const received = upstream.requests.filter(({ startLine }) => startLine.includes('stays'));
    const receivedBodies = await Promise.all(received.map((request) => request.body()));
    assert.deepEqual(
      receivedBodies.map(({ body }) => body.toString()),
      bodies,
    );
    client.leave();
  });
});
