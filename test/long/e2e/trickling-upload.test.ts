import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { createBlobClient } from '../../e2e/body-stream.ts';

const pieces = Array.from({ length: 40 }, () => randomBytes(1000));
const intervalMs = 100;
const digest = `sha256:${createHash('sha256').update(Buffer.concat(pieces)).digest('hex')}`;

async function* trickle(): AsyncGenerator<Buffer> {
  for (const piece of pieces) {
    yield piece;
    await delay(intervalMs);
  }
}

// Node ends a request that takes longer than 300 s unless told otherwise; every limit that there is must mean silence.
describe('an upload that takes longer than every limit', { skip: unlessInstalled('docker-registry') }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      set: ['limits.headerTimeout=1s', 'limits.idleTimeout=2s', 'upstream.readTimeout=2s'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  it('is not cut while it goes on', async () => {
    const blobs = createBlobClient(frontDoor, 'slow/upload');
    assert.deepEqual(await blobs.uploadChunked(trickle(), digest), [202, 201]);
    const patch = await frontDoor.logged((line) => line['method'] === 'PATCH');
    assert.ok((patch['durationMs'] as number) > 3500, JSON.stringify(patch));
    assert.equal(patch['bytesIn'], pieces.length * 1000);
  });
});
