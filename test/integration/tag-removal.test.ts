import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { openOwnDeletes } from '../../src/app/registry/open-deletes.ts';
import { openTagDelete } from '../../src/app/registry/open-tag-delete.ts';
import { loadConfig } from '../../src/config/load/load.ts';
import { createSharedRedis } from '../../src/redis/open.ts';
import { createUpstream } from '../../src/upstream/connections.ts';
import { createRequestUpstream } from '../../src/upstream/request.ts';
import { createDirectClient } from '../support/delete-history.ts';
import { imageType, makeImage, pushConfig, pushManifest } from '../support/manifest-registry.ts';
import { startRegistry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const repository = 'team/app';
const pathOf = (tag: string) => `/v2/${repository}/manifests/${tag}`;

for (const deletes of [true, false])
  test(
    `the clean-up removes a tag, where the registry ${deletes ? 'deletes digests' : 'deletes nothing'}`,
    { skip: unlessInstalled('docker-registry'), timeout: 240_000 },
    async (t) => {
      const registry = await startRegistry({ deletes });
      const client = createDirectClient(registry.url);
      const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-state-'));
      const { config } = await loadConfig({
        ...{ configPath: undefined, flavor: undefined, env: {}, cwd: dir },
        set: [`upstream.url=${registry.url}`, `state.dir=${dir}`, 'immutableTags=["**:v*"]'],
      });
      const upstream = createUpstream({ ...config.upstream, ca: null, pieceBytes: () => 65_536 });
      const logger = pino({ level: 'silent' });
      const redis = createSharedRedis(config.cache.redis, null);
      const own = await openOwnDeletes({ config, pem: { redisCa: null }, redis, logger });
      const tags = openTagDelete({
        ...{ config, registry: registry.url, authorization: null, cache: null, leases: null, logger },
        ports: {
          requestUpstream: createRequestUpstream({ upstream, connectTimeoutMs: 5000, readTimeoutMs: 5000 }),
          deletes: own,
        },
      });
      t.after(async () => {
        tags.close();
        await own.close();
        upstream.close();
        client.close();
        await registry.stop();
        await rm(dir, { recursive: true, force: true });
      });
      const image = makeImage('app');
      await pushConfig(client, repository);
      for (const tag of ['gone', 'twin', 'v1'])
        assert.equal((await pushManifest(client, pathOf(tag), image)).status, 201);

      const { outcome, why } = await tags.removeTag({ repository: repository, tag: 'gone', digest: null });
      assert.equal(outcome, deletes ? 'removed' : 'failed', why);
      assert.equal(
        (await tags.removeTag({ repository: repository, tag: 'v1', digest: null })).outcome,
        'immutable',
      );
      if (deletes)
        assert.equal(
          (await tags.removeTag({ repository: repository, tag: 'gone', digest: null })).outcome,
          'absent',
        );
      for (const [tag, status] of [
        ['gone', deletes ? 404 : 200],
        ['twin', 200],
        ['v1', 200],
      ] as const) {
        const answer = await client.ask('GET', pathOf(tag), { headers: { Accept: imageType } });
        assert.equal(answer.status, status, tag);
      }
      assert.deepEqual(deletes ? await readdir(path.join(dir, 'removals')) : [], []);
    },
  );
