import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import {
  askUnderDelete,
  createDirectClient,
  moveTagsUnderDelete,
  pushBlob,
  type Losses,
} from '../support/delete-history.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { makeImage, pushConfig, pushManifest } from '../support/manifest-registry.ts';
import { until } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const rounds = Number(process.env['ROUNDS'] ?? '12');

describe(
  'nothing is lost to a delete in a real registry',
  { skip: unlessInstalled('docker-registry'), timeout: 550_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let client: CacheClient;
    let direct: CacheClient;
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
      frontDoor = await startFrontDoor({ upstreamUrl: registry.url, set: ['workers=2'] });
      client = createCacheClient(frontDoor);
      direct = createDirectClient(registry.url);
    });
    after(async () => {
      client.close();
      direct.close();
      await frontDoor.stop();
      await registry.stop();
    });

    test('tags that are moved while the digest is deleted that they named', async (t) => {
      const losses = await moveTagsUnderDelete([client], 'team/moved', rounds);
      report(t, losses);
      assert.equal(losses.of, rounds * 8);
      assert.equal(losses.lost, 0, `${losses.lost} of ${losses.of} acknowledged pushes are gone`);
    });

    test('blobs that others ask for while they are deleted', async (t) => {
      const losses = await askUnderDelete([client], 'team/asked', rounds);
      report(t, losses);
      assert.equal(losses.of, rounds);
      assert.equal(losses.lost, 0, `${losses.lost} of ${losses.of} deleted blobs are said to be there`);
    });

    test('and it would be found: without the front door some is', async (t) => {
      const run = { moveTagsUnderDelete, askUnderDelete };
      for (const [name, lose] of Object.entries(run)) {
        let [lost, of] = [0, 0];
        for (let tries = 0; tries < 50 && lost === 0; tries += 1) {
          const losses = await lose([direct], `team/direct-${name.toLowerCase()}-${tries}`, rounds);
          [lost, of] = [lost + losses.lost, of + losses.of];
        }
        report(t, { lost, of });
        assert.ok(lost > 0, name);
      }
    });

    test('a manifest that is deleted as the blob that it is, too, is not answered from the cache', async () => {
      const repository = 'team/both';
      const image = makeImage('both');
      const path = `/v2/${repository}/manifests/${image.digest}`;
      const accepting = { headers: { Accept: image.type } };
      await pushConfig(client, repository);
      assert.equal(await pushBlob(client, repository, image.body), image.digest);
      for (const reference of [image.digest, 'latest'])
        await pushManifest(client, `/v2/${repository}/manifests/${reference}`, image);
      await until('it is in the cache', async () => {
        const { header } = await client.ask('GET', path, accepting);
        return header('X-Cache') === 'HIT';
      });
      const deleted = await client.ask('DELETE', `/v2/${repository}/blobs/${image.digest}`);
      assert.equal(deleted.status, 202);
      for (const reference of [image.digest, 'latest']) {
        const target = `/v2/${repository}/manifests/${reference}`;
        const [ours, theirs] = await Promise.all(
          [client, direct].map((each) => each.ask('GET', target, accepting)),
        );
        assert.equal(ours?.header('X-Cache'), 'MISS');
        assert.equal(ours.status, theirs?.status);
      }
    });
  },
);

function report(t: TestContext, { lost, of }: Losses): void {
  t.diagnostic(`lost ${lost} of ${of}`);
}
