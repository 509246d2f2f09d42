import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../../support/cache-client.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { linkPath, pushBlob, sha256 } from '../../support/stored-blobs.ts';
import { wholeLog } from '../../support/whole-log.ts';

describe(
  'blobs in the files while they are pushed, deleted and collected',
  { skip: unlessInstalled('docker-registry'), timeout: 480_000 },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let client: CacheClient;
    before(async () => {
      registry = await startRegistry();
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        set: [`upstream.storage=${registry.storageDir}`],
      });
      client = createCacheClient(frontDoor);
    });
    after(async () => {
      client.close();
      await frontDoor.stop();
      await registry.stop();
    });

    const pull = (repository: string, digest: string) =>
      client.ask('GET', `/v2/${repository}/blobs/${digest}`);
    const push = async (repository: string, bytes: Buffer) => {
      const started = await client.ask('POST', `/v2/${repository}/blobs/uploads/`);
      const { pathname, search } = new URL(started.header('location'));
      const put = await client.ask('PUT', `${pathname}${search}&digest=${sha256(bytes)}`, { body: bytes });
      assert.equal(put.status, 201);
    };
    const remove = async (repository: string, digest: string) => {
      assert.equal((await client.ask('DELETE', `/v2/${repository}/blobs/${digest}`)).status, 202);
    };
    const servedFromStorage = async () =>
      (await wholeLog(frontDoor)).filter(({ source }) => source === 'storage').length;

    test('a blob is there as soon as its push is answered, and gone as soon as its deletion is', async () => {
      const bytes = randomBytes(100_000);
      const before = await servedFromStorage();
      await push('one/app', bytes);
      assert.ok((await pull('one/app', sha256(bytes))).body.equals(bytes));
      await remove('one/app', sha256(bytes));
      assert.equal((await pull('one/app', sha256(bytes))).status, 404);
      await push('one/app', bytes);
      assert.ok((await pull('one/app', sha256(bytes))).body.equals(bytes));
      assert.equal((await servedFromStorage()) - before, 2);
    });

    test('a mounted blob is there in the repository that asked for it, and in no other', async () => {
      const bytes = randomBytes(100_000);
      await push('from/app', bytes);
      const mounted = await client.ask(
        'POST',
        `/v2/to/app/blobs/uploads/?mount=${sha256(bytes)}&from=from/app`,
      );
      assert.equal(mounted.status, 201);
      assert.ok((await pull('to/app', sha256(bytes))).body.equals(bytes));
      assert.equal((await pull('third/app', sha256(bytes))).status, 404);
      await remove('from/app', sha256(bytes));
      assert.equal((await pull('from/app', sha256(bytes))).status, 404);
      assert.ok((await pull('to/app', sha256(bytes))).body.equals(bytes));
    });

    test('a collected blob is gone at once, though the link to it stays', async () => {
      const bytes = randomBytes(100_000);
      const digest = await pushBlob(registry.url, 'collected/app', bytes);
      assert.ok((await pull('collected/app', digest)).body.equals(bytes));
      await registry.collectGarbage();
      await access(path.join(registry.storageDir, linkPath('collected/app', digest)));
      assert.equal((await pull('collected/app', digest)).status, 404);
    });

    test('every answer is the whole blob or none, whatever happens at the same time', async () => {
      const before = await servedFromStorage();
      const worker = async (name: string) => {
        for (let round = 0; round < 60; round += 1) {
          const repository = `${name}/app`;
          const bytes = randomBytes(randomInt(1, 300_000));
          const digest = sha256(bytes);
          const early = pull(repository, digest);
          await push(repository, bytes);
          const late = await Promise.all([pull(repository, digest), pull(repository, digest), early]);
          const statuses = late.map(({ status }) => status);
          assert.deepEqual(statuses.slice(0, 2), [200, 200]);
          const during = pull(repository, digest);
          await remove(repository, digest);
          const gone = await pull(repository, digest);
          assert.equal(gone.status, 404);
          for (const answer of [...late, await during]) {
            if (answer.status === 200) assert.equal(sha256(answer.body), digest);
            else assert.equal(answer.status, 404);
          }
        }
      };
      await Promise.all(['a', 'b', 'c', 'd', 'e'].map(worker));
      assert.ok((await servedFromStorage()) - before >= 600);
    });
  },
);
