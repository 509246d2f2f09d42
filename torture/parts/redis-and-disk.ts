import { createCacheClient } from '../../test/support/cache-client.ts';
import { digestOf, ociManifest, pushBlob } from '../../test/support/cache-load.ts';
import { startFrontDoor, type FrontDoor } from '../../test/support/front-door.ts';
import { startRedis } from '../../test/support/redis.ts';
import { startRegistry } from '../../test/support/registry.ts';
import { startBystander } from '../support/bystander.ts';
import { createDescriptorFaults } from '../support/descriptor-faults.ts';
import { createDiskFaults } from '../support/disk-faults.ts';
import { takeCensus, untilReleased } from '../support/process-census.ts';
import { createRedisFaults } from '../support/redis-faults.ts';
import { startRedisImpostor } from '../support/redis-impostor.ts';
import { canMount, makeSmallDisk } from '../support/small-disk.ts';
import type { Part } from '../trial.ts';

const users = 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n';
const repository = 'faults/app';
/** To the registry, for the next requests: as many as the trials have clients at a time. */
const keptConnections = 32;

/** Faults of Tidegate's surroundings: Redis, the disk, and its limit of open files. */
export const redisAndDisk: Part = {
  name: 'faults of Redis and disk',
  open: async ({ form }) => {
    const registry = await startRegistry();
    const redis = await startRedis();
    const impostor = await startRedisImpostor(redis.port);
    const logDisk = canMount ? await makeSmallDisk('512m') : null;
    const cached = await startFrontDoor({
      upstreamUrl: registry.url,
      set: [
        // The record of usage opens its files when something is first pulled, and they would seem to leak.
        ...['workers=2', 'state.usage=false'],
        ...['cache.driver=redis', `cache.redis.url=redis://127.0.0.1:${impostor.port}`],
        ...(logDisk ? [`log.accessFile=${logDisk.path}/access.log`] : []),
      ],
      ...(logDisk ? { within: logDisk.within } : {}),
    });
    // What is pulled by whoever is to notice little comes out of the cache, and needs no descriptor as long as it is believed there.
    const stored = ['cache.tagTtl=1h', `upstream.storage=${registry.storageDir}`];
    const cramped = await startFrontDoor({
      upstreamUrl: registry.url,
      htpasswd: users,
      set: ['workers=2', 'admin.port=0', 'log.audit=false', 'state.usage=false', ...stored],
    });

    const client = createCacheClient(cached);
    const config = '{}';
    const configDigest = await pushBlob(client, repository, config);
    const manifest = (note: string) =>
      JSON.stringify({
        ...{ schemaVersion: 2, mediaType: ociManifest, layers: [], annotations: { note } },
        config: {
          mediaType: 'application/vnd.oci.image.config.v1+json',
          digest: configDigest,
          size: config.length,
        },
      });
    // Of the type that is given to who names none.
    const type = 'application/vnd.docker.distribution.manifest.v2+json';
    const bytes = Buffer.from(manifest('for bystanders').replaceAll(ociManifest, type));
    const target = `/v2/${repository}/manifests/${digestOf(bytes)}`;
    await client.ask('PUT', target, { headers: { 'Content-Type': type }, body: bytes });
    client.close();
    const wanted = { target, bytes };
    const blob = { target: `/v2/${repository}/blobs/${configDigest}`, bytes: Buffer.from(config) };
    const besideRedis = startBystander(cached, [wanted, blob]);
    const besideFiles = startBystander(cramped, [wanted], { maySayLater: true });
    await Promise.all([besideRedis.settled(), besideFiles.settled()]);
    const held = await Promise.all(
      [cached, cramped].map(async ({ pid }) => ({ pid, before: await takeCensus(pid) })),
    );
    const workersEnded = ({ log }: FrontDoor) =>
      log.filter(({ msg }) => msg === 'a worker process has ended: another takes its place').length;

    return {
      trials: [
        ...createRedisFaults({
          ...{ form, frontDoor: cached, redis, impostor, bystander: besideRedis, repository, manifest },
        }),
        ...createDiskFaults({ form, frontDoor: cached, bystander: besideRedis, logDisk }),
        ...createDescriptorFaults({
          ...{ frontDoor: cramped, bystander: besideFiles, users, storageDir: registry.storageDir },
        }),
      ],
      close: async () => {
        const noticed = await Promise.allSettled([
          ...[besideRedis.stop(), besideFiles.stop()],
          ...held.map(({ pid, before }) => untilReleased(pid, before, keptConnections)),
        ]);
        await cached.stop();
        await cramped.stop();
        await impostor.close();
        await redis.stop();
        await registry.stop();
        await logDisk?.remove();
        for (const each of noticed) if (each.status === 'rejected') throw each.reason;
        const ended = workersEnded(cached) + workersEnded(cramped);
        if (ended > 0) throw new Error(`${ended} worker processes have ended`);
      },
    };
  },
};
