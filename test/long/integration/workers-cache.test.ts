import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { authorized, type RawClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
} from '../../support/scripted-upstream.ts';
import { connectToWorker, isAlive, workerPids } from '../../support/workers.ts';

const target = '/v2/app/manifests/latest';
const mediaType = 'application/vnd.oci.image.manifest.v1+json';

describe('one cache of several workers', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  let pids: number[];
  let clients: RawClient[];
  /** What upstream answers to GET. */
  let manifest = 'the first';
  /** Writes that upstream has received and not answered. */
  let writes: UpstreamRequest[];

  beforeEach(async () => {
    writes = [];
    manifest = 'the first';
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        if (!request.startLine.startsWith('GET ')) {
          writes.push(request);
          return;
        }
        const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
        request.answer(
          head(
            'HTTP/1.1 200 OK',
            `Content-Type: ${mediaType}`,
            `Content-Length: ${manifest.length}`,
            `Docker-Content-Digest: ${digest}`,
          ),
          manifest,
        );
      },
    });
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['workers=2', 'cache.tagTtl=1h', 'log.audit=false'],
    });
    pids = await workerPids(frontDoor);
    clients = [];
    for (const pid of pids) clients.push(await connectToWorker(frontDoor, pid));
  });
  afterEach(async () => {
    for (const client of clients) client.leave();
    await frontDoor.stop();
    await upstream.close();
  });

  const clientOf = (index: number) => clients[index] ?? assert.fail();
  /** What a worker answers to a pull of the tag: HIT or MISS, and the manifest. */
  const pull = async (index: number): Promise<string> => {
    clientOf(index).send(authorized(`GET ${target}`, `Accept: ${mediaType}`));
    const answer = await clientOf(index).response();
    return `${values(answer, 'x-cache').join()} ${answer.body.toString()}`;
  };
  const fillBoth = async () => {
    for (const index of [0, 1]) {
      assert.equal(await pull(index), 'MISS the first');
      assert.equal(await pull(index), 'HIT the first');
    }
  };
  /** Sends a push through a worker; its answer is to come. */
  const push = (index: number): Promise<number> => {
    clientOf(index).send(
      authorized(`PUT ${target}`, `Content-Type: ${mediaType}`, 'Content-Length: 10') + 'the second',
    );
    return clientOf(index)
      .response()
      .then(({ status }) => status);
  };
  const untilForwarded = () => until('upstream has the push', () => writes.length === 1);
  const acknowledge = () => {
    manifest = 'the second';
    writes[0]?.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
  };

  test('a push through one is in effect in the other as soon as it is acknowledged', async () => {
    await fillBoth();
    const pushed = push(0);
    await untilForwarded();
    assert.equal(await pull(1), 'MISS the first', 'nothing is kept while it is under way');
    assert.equal(await pull(1), 'MISS the first');
    acknowledge();
    assert.equal(await pushed, 201);
    for (const index of [1, 0]) {
      assert.equal(await pull(index), 'MISS the second');
      assert.equal(await pull(index), 'HIT the second');
    }
  });

  test('a push waits for a worker that is stopped, before and after it is forwarded', async () => {
    await fillBoth();
    process.kill(pids[1] ?? 0, 'SIGSTOP');
    const pushed = push(0);
    const other = await connectToWorker(frontDoor, pids[0] ?? 0);
    clients.push(other);
    for (let i = 0; i < 5; i += 1) assert.match(await pull(2), /^MISS/, 'the one that writes serves on');
    assert.equal(writes.length, 0);
    process.kill(pids[1] ?? 0, 'SIGCONT');
    await untilForwarded();

    process.kill(pids[1] ?? 0, 'SIGSTOP');
    let acknowledged = false;
    void pushed.then(() => (acknowledged = true));
    acknowledge();
    for (let i = 0; i < 5; i += 1) await pull(2);
    assert.equal(acknowledged, false);
    process.kill(pids[1] ?? 0, 'SIGCONT');
    assert.equal(await pushed, 201);
    assert.equal(await pull(1), 'MISS the second');
  });

  test('a worker that hangs is gone before a push is forwarded', async () => {
    await fillBoth();
    const [, hanging = 0] = pids;
    process.kill(hanging, 'SIGSTOP');
    const pushed = push(0);
    await untilForwarded();
    assert.equal(isAlive(hanging), false);
    await frontDoor.logged(
      ({ msg, workerPid }) =>
        msg === 'a worker process does not answer: it is killed' && workerPid === hanging,
    );
    acknowledge();
    assert.equal(await pushed, 201);
    const { workerPid } = await frontDoor.logged(({ msg }) => msg === 'a worker process is listening');
    clients.push(await connectToWorker(frontDoor, workerPid as number));
    assert.equal(await pull(2), 'MISS the second');
  });

  test('a worker that joins during a push keeps nothing before its end', async () => {
    await fillBoth();
    const pushed = push(0);
    await untilForwarded();
    process.kill(pids[1] ?? 0, 'SIGKILL');
    const { workerPid } = await frontDoor.logged(({ msg }) => msg === 'a worker process is listening');
    clients.push(await connectToWorker(frontDoor, workerPid as number));
    for (let i = 0; i < 3; i += 1) assert.equal(await pull(2), 'MISS the first');
    acknowledge();
    assert.equal(await pushed, 201);
    assert.equal(await pull(2), 'MISS the second');
    assert.equal(await pull(2), 'HIT the second');
  });
});
