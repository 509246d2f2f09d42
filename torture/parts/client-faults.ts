import { startFrontDoor } from '../../test/support/front-door.ts';
import { authorized, exchange } from '../../test/support/raw-client.ts';
import { startRegistry, type Registry } from '../../test/support/registry.ts';
import { pushBlob, sha256 } from '../../test/support/stored-blobs.ts';
import { startBystander, type Good } from '../support/bystander.ts';
import { clientAborts } from '../support/client-aborts.ts';
import { clientCrowd } from '../support/client-crowd.ts';
import { clientHellos } from '../support/client-hellos.ts';
import { clientLies } from '../support/client-lies.ts';
import { clientPace } from '../support/client-pace.ts';
import { eachAtOnce, limitsOf, manifestType, type ClientRig } from '../support/client-rig.ts';
import { readHoldings, untilBack } from '../support/leak-check.ts';
import { createRandom } from '../support/random.ts';
import type { Part } from '../trial.ts';

const repository = 'team/app';

/** Clients that leave, hang, lie, flood, or speak another protocol, with a real registry. */
export const clientFaults: Part = {
  name: 'faults of clients',
  open: async ({ form, seed }) => {
    const registry = await startRegistry();
    const push = async (bytes: Buffer): Promise<Good> => ({
      target: `/v2/${repository}/blobs/${await pushBlob(registry.url, repository, bytes)}`,
      bytes,
    });
    const small = await push(Buffer.alloc(5000, 'small '));
    const large = await push(Buffer.alloc(24 * 1024 * 1024, 'large '));
    const limits = limitsOf(form);
    const frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      set: [
        `limits.handshakeTimeout=${limits.handshakeTimeoutMs}ms`,
        `limits.headerTimeout=${limits.headerTimeoutMs}ms`,
        `limits.idleTimeout=${limits.idleTimeoutMs}ms`,
        'limits.refusedBodyTimeout=1s',
      ],
    });
    // As many at once as later: connections to the registry are kept for a while.
    await eachAtOnce(16, Array(200), async () => {
      await exchange(frontDoor, authorized(`GET ${small.target}`));
    }).catch(async (error: unknown) => {
      await frontDoor.stop();
      await registry.stop();
      throw error;
    });
    const bystander = startBystander(frontDoor, [small]);
    await bystander.settled();
    const before = await readHoldings(frontDoor.pid);
    const rig: ClientRig = {
      ...{ form, frontDoor, registry, bystander, limits, small, large, repository },
      ...{ random: createRandom(seed), manifest: await createManifest(registry) },
    };
    return {
      trials: [
        ...clientHellos(rig),
        ...clientAborts(rig),
        ...clientPace(rig),
        ...clientLies(rig),
        clientCrowd(rig),
      ],
      close: async () => {
        try {
          await bystander.settled();
          await untilBack(frontDoor.pid, before);
          await bystander.stop();
        } finally {
          await frontDoor.stop();
          await registry.stop();
        }
      },
    };
  },
};

/** A manifest of a config that the registry has. */
async function createManifest({ url }: Registry): Promise<Buffer> {
  const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
  await pushBlob(url, repository, config);
  const mediaType = 'application/vnd.oci.image.config.v1+json';
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType, digest: sha256(config), size: config.length },
      layers: [],
    }),
  );
}
