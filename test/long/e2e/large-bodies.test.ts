import assert from 'node:assert/strict';
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, afterEach, before, describe, it, type TestContext } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { readMemory } from '../../support/process-status.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled, unlessPossible } from '../../support/requirement.ts';
import { chunksOf, createBlobClient, digestOf, readBody, type LargeBody } from '../../e2e/body-stream.ts';

const gib = 1024 ** 3;
const mib = 1024 ** 2;
const bodyBytes = 2 * gib;
/** What all other bodies have; BODY_GIB=2 makes them as large as the one that goes up in chunks and comes down. */
const otherBytes = Number(process.env['BODY_GIB'] ?? '0.25') * gib;
const maxRssBytes = 200 * mib;

const neededBytes = Math.max(2 * bodyBytes, 4 * otherBytes) + gib;
const { bavail, bsize } = statfsSync(tmpdir());
const skip =
  unlessInstalled('docker-registry') ||
  unlessPossible(process.platform === 'linux', 'memory is read from /proc') ||
  unlessPossible(bavail * bsize > neededBytes, `${neededBytes / gib} GiB free in ${tmpdir()}`);

describe('large bodies', { skip }, () => {
  let registry: Registry;
  let frontDoor: FrontDoor;
  let blobs: ReturnType<typeof createBlobClient>;
  before(async () => {
    registry = await startRegistry();
    frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
    blobs = createBlobClient(frontDoor, 'large/bodies');
  });
  afterEach(async (t) => {
    const { peakBytes } = await readMemory(frontDoor.pid);
    (t as TestContext).diagnostic(`peak memory of the front door: ${Math.round(peakBytes / mib)} MiB`);
    assert.ok(peakBytes < maxRssBytes, `${peakBytes} bytes`);
  });
  after(async () => {
    await frontDoor.stop();
    await registry.stop();
  });

  /** Runs a transfer and reports its speed. */
  async function timed<T>(
    t: TestContext,
    what: string,
    bytes: number,
    transfer: () => Promise<T>,
  ): Promise<T> {
    const startMs = performance.now();
    const result = await transfer();
    const seconds = (performance.now() - startMs) / 1000;
    t.diagnostic(
      `${what}: ${bytes / gib} GiB in ${seconds.toFixed(1)} s, ${Math.round(bytes / mib / seconds)} MiB/s`,
    );
    return result;
  }
  const download = async (digest: string) => readBody(await blobs.openDownload(digest));

  it('carries a chunked PATCH up, and the blob down, with one reader asleep', async (t) => {
    const body: LargeBody = { seed: 1, bytes: bodyBytes };
    const digest = digestOf(body);
    const statuses = await timed(t, 'chunked PATCH', bodyBytes, () =>
      blobs.uploadChunked(chunksOf(body), digest),
    );
    assert.deepEqual(statuses, [202, 201]);
    // Nobody reads this one while the other comes down: what Tidegate took for it would show in its memory.
    const asleep = await blobs.openDownload(digest);
    const awake = await timed(t, 'GET', bodyBytes, () => download(digest));
    assert.deepEqual(awake, { bytes: bodyBytes, digest });
    assert.equal(asleep.readableEnded, false);
    const part: LargeBody = { ...body, bytes: otherBytes };
    const read = await timed(t, 'GET, once awake', part.bytes, () => readBody(asleep, part.bytes));
    assert.deepEqual(read, { bytes: part.bytes, digest: digestOf(part) });
    await registry.forgetAll();
  });

  it('carries a PUT with Content-Length up', async (t) => {
    const body: LargeBody = { seed: 2, bytes: otherBytes };
    const digest = digestOf(body);
    const status = await timed(t, 'PUT', otherBytes, () => blobs.uploadWhole(body, digest));
    assert.equal(status, 201); // the registry has compared the digest
    await registry.forgetAll();
  });

  it('carries four at once, up and down', async (t) => {
    const bodies = [3, 4, 5, 6].map((seed): LargeBody => ({ seed, bytes: otherBytes }));
    const digests = bodies.map(digestOf);
    const statuses = await timed(t, 'four up', 4 * otherBytes, () =>
      Promise.all(
        bodies.map(async (body, i) =>
          i % 2 === 0
            ? (await blobs.uploadChunked(chunksOf(body), digests[i] ?? '')).at(-1)
            : blobs.uploadWhole(body, digests[i] ?? ''),
        ),
      ),
    );
    assert.deepEqual(statuses, [201, 201, 201, 201]);
    const down = await timed(t, 'four down', 4 * otherBytes, () => Promise.all(digests.map(download)));
    assert.deepEqual(
      down,
      digests.map((digest) => ({ bytes: otherBytes, digest })),
    );
    await registry.forgetAll();
  });
});
