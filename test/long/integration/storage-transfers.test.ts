import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { readMemory } from '../../support/process-status.ts';
import { authorized, connectClient, type RawClient } from '../../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';
import { countOpenFiles, dataPath, sha256, storeBlob } from '../../support/stored-blobs.ts';

const repository = 'team/app';
const mebibyte = 1024 * 1024;

describe('a blob on its way from the files', { timeout: 480_000 }, () => {
  let root: string;
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  const blob = randomBytes(40 * mebibyte);
  const digest = sha256(blob);

  before(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'tidegate-storage-'));
    await storeBlob(root, repository, digest, blob);
    upstream = await startUpstream({
      // Sends no bytes: whatever arrives comes from the files.
      script: async (request) => {
        const asked = /sha256:[0-9a-f]+/.exec(request.startLine)?.[0] ?? '';
        const { size } = await stat(path.join(root, dataPath(asked)));
        request.answer(
          request.startLine.startsWith('HEAD ')
            ? head('HTTP/1.1 200 OK', `Content-Length: ${size}`, `Docker-Content-Digest: ${asked}`)
            : head('HTTP/1.1 500 Internal Server Error', 'Content-Length: 0'),
        );
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [`upstream.storage=${root}`, 'limits.idleTimeout=5s'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
    await rm(root, { recursive: true });
  });

  const get = (which = digest, ...lines: string[]) =>
    authorized(`GET /v2/${repository}/blobs/${which}`, ...lines);
  /** Asks, and reads the head; the body is left where it is. */
  const begin = async (which = digest, ...lines: string[]): Promise<RawClient> => {
    const client = await connectClient(frontDoor);
    client.send(get(which, ...lines));
    assert.equal((await client.responseHead()).status, 200);
    return client;
  };
  /** Reads so many bytes in small steps, with pauses if that is wanted; gives their digest. */
  const digestOf = async (client: RawClient, length: number, pauses = false) => {
    const hash = createHash('sha256');
    for (let left = length; left > 0;) {
      const wanted = Math.min(left, randomInt(1, 400_000));
      const bytes = await client.reader.take(wanted);
      assert.equal(bytes.length, wanted);
      hash.update(bytes);
      left -= wanted;
      if (pauses && randomInt(30) === 0) await pause(randomInt(60));
    }
    return `sha256:${hash.digest('hex')}`;
  };
  /** Resolves when Tidegate has no file of the storage open; the test's time limit is the limit. */
  const allClosed = async () => {
    while ((await countOpenFiles(frontDoor.pid, root)) > 0) await pause(10);
  };

  test('arrives whole at readers that pause as they like', async () => {
    const readers = Array.from({ length: 8 }, async () => {
      const client = await begin();
      const got = await digestOf(client, blob.length, true);
      client.leave();
      return got;
    });
    for (const got of await Promise.all(readers)) assert.equal(got, digest);
    await allClosed();
  });

  test('a range of every kind of length arrives exactly', async () => {
    const client = await connectClient(frontDoor);
    await storeBlob(root, repository, sha256(Buffer.from('small')), Buffer.from('small'));
    client.send(get(sha256(Buffer.from('small'))));
    assert.equal((await client.response()).body.toString(), 'small');
    for (const length of [0, 1, 65_535, 65_536, 65_537, 524_288, 524_289, 589_824, 1_048_577]) {
      const bytes = blob.subarray(0, length);
      await storeBlob(root, repository, sha256(bytes), bytes);
      client.send(get(sha256(bytes)));
      assert.ok((await client.response()).body.equals(bytes), `${length} bytes`);
    }
    client.leave();
  });

  test('readers that leave at any moment leave no file open', async () => {
    const leavers = Array.from({ length: 10 }, async () => {
      for (let i = 0; i < 30; i += 1) {
        const client = await connectClient(frontDoor);
        client.send(get());
        const patience = randomInt(6);
        if (patience > 0) await client.reader.discard(2 ** (4 * patience));
        client.leave();
      }
    });
    await Promise.all(leavers);
    await allClosed();
    const client = await begin();
    assert.equal(await digestOf(client, blob.length), digest);
    client.leave();
  });

  test('a file that becomes shorter cuts the connection', async () => {
    const bytes = randomBytes(40 * mebibyte);
    await storeBlob(root, repository, sha256(bytes), bytes);
    const client = await begin(sha256(bytes), 'User-Agent: truncated');
    await client.reader.take(1000);
    await truncate(path.join(root, dataPath(sha256(bytes))), 20 * mebibyte);
    assert.ok((await client.reader.discard(bytes.length)) < 20 * mebibyte);
    const line = await frontDoor.logged(({ userAgent }) => userAgent === 'truncated');
    assert.equal(line['reason'], 'storage-broke');
    await allClosed();
  });

  test('a hundred readers that stop cost little memory', async () => {
    const before = await readMemory(frontDoor.pid);
    const clients = await Promise.all(Array.from({ length: 100 }, () => begin()));
    for (const client of clients) await client.reader.discard(mebibyte);
    const grown = (await readMemory(frontDoor.pid)).nowBytes - before.nowBytes;
    for (const client of clients) client.leave();
    assert.ok(grown < 70 * mebibyte, `${Math.round(grown / mebibyte)} MiB`);
    await allClosed();
  });

  test('a file that is deleted meanwhile is sent to its end, and gone for the next', async () => {
    const bytes = randomBytes(40 * mebibyte);
    await storeBlob(root, repository, sha256(bytes), bytes);
    const client = await begin(sha256(bytes));
    await rm(path.dirname(path.join(root, dataPath(sha256(bytes)))), { recursive: true });
    assert.equal(await digestOf(client, bytes.length), sha256(bytes));
    client.leave();
  });

  test('a reader that stops is cut after limits.idleTimeout', async () => {
    const client = await begin(digest, 'User-Agent: stopped');
    await frontDoor.logged(({ userAgent }) => userAgent === 'stopped');
    await allClosed();
    client.leave();
  });
});
