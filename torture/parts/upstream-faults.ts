import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startFrontDoor } from '../../test/support/front-door.ts';
import { startRegistry } from '../../test/support/registry.ts';
import { sha256, storeBlob } from '../../test/support/stored-blobs.ts';
import { startBystander } from '../support/bystander.ts';
import { startFaultyUpstream } from '../support/faulty-upstream.ts';
import { createLane } from '../support/lane.ts';
import { readHoldings, untilBack } from '../support/leak-check.ts';
import { createRandom } from '../support/random.ts';
import { recordExchanges } from '../support/recorded-exchanges.ts';
import { upstreamBabble } from '../support/upstream-babble.ts';
import { upstreamCuts } from '../support/upstream-cuts.ts';
import { longestMs, readTimeoutMs, requestOf, type UpstreamRig } from '../support/upstream-rig.ts';
import { upstreamRestarts } from '../support/upstream-restarts.ts';
import { upstreamUploads } from '../support/upstream-uploads.ts';
import type { Part } from '../trial.ts';

/** A registry that refuses, hangs, breaks off, talks nonsense or answers too early, and one that restarts. */
export const upstreamFaults: Part = {
  name: 'faults of upstream',
  open: async ({ form, seed }) => {
    const registry = await startRegistry();
    const exchanges = await recordExchanges(registry).finally(() => registry.stop());
    const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-torture-'));
    const bytes = Buffer.alloc(70_000, 'stored ');
    const stored = { repository: 'stored', digest: sha256(bytes), bytes };
    await storeBlob(folder, stored.repository, stored.digest, bytes);
    const upstream = await startFaultyUpstream();
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      // Lines of requests would fill this process's memory in the hours of the long form.
      set: [
        `upstream.readTimeout=${readTimeoutMs}ms`,
        `upstream.storage=${folder}`,
        'log.accessFile=/dev/null',
      ],
    });
    const bystander = startBystander(frontDoor, upstream.healthy);
    const rig: UpstreamRig = {
      ...{ form, frontDoor, upstream, bystander, exchanges, stored },
      random: createRandom(seed),
    };
    await warmUp(rig).catch(async (error: unknown) => {
      await frontDoor.stop();
      await upstream.close();
      throw error;
    });
    const before = await readHoldings(frontDoor.pid);
    return {
      trials: [...upstreamCuts(rig), ...upstreamBabble(rig), ...upstreamUploads(rig), upstreamRestarts(rig)],
      close: async () => {
        try {
          upstream.closeIdle();
          await untilBack(frontDoor.pid, before);
          await bystander.stop();
        } finally {
          await frontDoor.stop();
          await upstream.close();
          await rm(folder, { recursive: true });
        }
      },
    };
  },
};

/** Sends each request once, without faults. */
async function warmUp({ frontDoor, upstream, exchanges }: UpstreamRig): Promise<void> {
  const lane = createLane(frontDoor, longestMs);
  for (let round = 0; round < 30; round++)
    for (const exchange of exchanges) {
      const bytes = [exchange.head, exchange.body];
      const id = upstream.plan({ bytes, ending: 'stay', readsBody: true });
      const { status } = await lane.ask(...requestOf(exchange, id));
      if (status !== exchange.status) throw new Error(`${exchange.name}: ${status} for what was recorded`);
    }
  lane.leave();
  upstream.closeIdle();
}
