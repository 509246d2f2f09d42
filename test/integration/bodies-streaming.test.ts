import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { readMemory } from '../support/process-status.ts';
import { unlessPossible } from '../support/requirement.ts';
import { authorized, connectClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const MiB = 1024 * 1024;
const bodyBytes = 400 * MiB;
const piece = Buffer.alloc(MiB, 'x');

/** Writes the body as fast as the other side takes it. */
async function sendBody(stream: Duplex): Promise<void> {
  for (let sentBytes = 0; sentBytes < bodyBytes; sentBytes += piece.length) {
    if (!stream.write(piece)) await once(stream, 'drain');
  }
}

/** Waits until nothing has been written for half a second: everything on the way is full. */
async function stalls(bytesWritten: () => number): Promise<void> {
  let before = -1;
  while (before !== bytesWritten()) {
    before = bytesWritten();
    await delay(500);
  }
}

const skip = unlessPossible(process.platform === 'linux', 'reads /proc');

describe('memory does not grow with bodies', { timeout: 360_000, skip }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  test('a client that stops reading a download, and goes on', async (t) => {
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    const request = await upstream.next();
    request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${bodyBytes}`));
    await client.responseHead();
    const before = await readMemory(frontDoor.pid);
    const sent = sendBody(request.socket);
    await stalls(() => request.socket.bytesWritten - request.socket.writableLength);
    assert.ok(request.socket.bytesWritten < bodyBytes / 4, 'upstream is held back');
    const stalled = await readMemory(frontDoor.pid);
    assert.equal(await client.reader.discard(bodyBytes), bodyBytes);
    await sent;
    const { peakBytes } = await readMemory(frontDoor.pid);
    t.diagnostic(`RSS before ${before.nowBytes}, stalled ${stalled.nowBytes}, peak ${peakBytes} bytes`);
    assert.ok(stalled.nowBytes - before.nowBytes < 80 * MiB);
    assert.ok(peakBytes - before.nowBytes < 120 * MiB);
    client.leave();
  });

  test('an upstream that stops reading an upload, and goes on', async (t) => {
    const client = await connectClient(frontDoor);
    client.send(authorized('PUT /v2/app/blobs/uploads/1', `Content-Length: ${bodyBytes}`));
    const request = await upstream.next();
    const before = await readMemory(frontDoor.pid);
    const sent = sendBody(client.socket);
    await stalls(() => client.socket.bytesWritten - client.socket.writableLength);
    assert.ok(client.socket.bytesWritten < bodyBytes / 4, 'the client is held back');
    const stalled = await readMemory(frontDoor.pid);
    let receivedBytes = 0;
    while (receivedBytes < bodyBytes)
      receivedBytes += (await request.someBody())?.length ?? assert.fail('it was cut');
    await sent;
    request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    assert.equal((await client.response()).status, 201);
    const { peakBytes } = await readMemory(frontDoor.pid);
    t.diagnostic(`RSS before ${before.nowBytes}, stalled ${stalled.nowBytes}, peak ${peakBytes} bytes`);
    assert.ok(stalled.nowBytes - before.nowBytes < 80 * MiB);
    assert.ok(peakBytes - before.nowBytes < 120 * MiB);
    client.leave();
  });
});
