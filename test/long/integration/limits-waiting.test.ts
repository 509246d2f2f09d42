import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { countOpen, openCrowd, steadyBytes } from '../../support/crowd.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import {
  startUpstream,
  type ScriptedUpstream,
  type UpstreamRequest,
} from '../../support/scripted-upstream.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

const kilobytes = (count: number) => 'x'.repeat(count * KiB);
const inChunksOfOne = (bytes: number) => '1\r\nx\r\n'.repeat(bytes);
const answerOk = (request: UpstreamRequest) =>
  request.answer(
    head('HTTP/1.1 200 OK', 'Content-Length: 2'),
    request.startLine.startsWith('HEAD ') ? '' : 'ok',
  );

/** One that is answered when the test has it answered. */
const held = authorized('GET /v2/app/blobs/held');
const heads = authorized('GET /v2/app/blobs/x', `X-Padding: ${kilobytes(3.5)}`).repeat(15);
/** The first has its turn and waits for upstream to say whether the tag is there; the others wait for it. */
const push = (...lines: string[]) => authorized('PUT /v2/app/manifests/held', ...lines);

describe('what requests of a user that wait make the process hold', { timeout: 550_000 }, () => {
  let upstream: ScriptedUpstream;
  let waiting: UpstreamRequest[];
  before(async () => {
    waiting = [];
    upstream = await startUpstream({
      keepsRequests: false,
      script: async (request) => {
        if (request.startLine.includes('/held')) waiting.push(request);
        else {
          await request.body();
          answerOk(request);
        }
      },
    });
  });
  after(() => upstream.close());

  const withFrontDoor = async (settings: readonly string[], use: (frontDoor: FrontDoor) => Promise<void>) => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      config: 'immutableTags: ["app:*"]\n',
      set: [
        ...['limits.tagLockQueue=1000', 'limits.tagLockWait=10m', 'limits.idleTimeout=10m'],
        ...['upstream.readTimeout=10m', ...settings],
      ],
    });
    try {
      for (const client of await openCrowd(frontDoor, 40, authorized('GET /v2/app/blobs/x'))) client.leave();
      await use(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };

  for (const [what, bytes, waitingKiB] of [
    ['heads behind a request that waits', held + heads, 55 + 15 * 8],
    ['bodies that nobody wants yet', push(`Content-Length: ${48 * KiB}`) + kilobytes(47), 32],
  ] as const) {
    test(`limits.waitingBytes: ${what}, those on which the most waits are closed`, () =>
      withFrontDoor(['limits.waitingBytes=4MiB'], async (frontDoor) => {
        // Who waits as clients do stays, be it with Tidegate or behind one more request.
        const honest = await connectClient(frontDoor);
        honest.send(held + authorized('GET /v2/app/blobs/x'));
        await until('it waits for upstream', () => waiting.length > 0);
        const before = await steadyBytes(frontDoor.pid);
        const clients = await openCrowd(frontDoor, 300, bytes);
        await until('what is left fits', () => countOpen(clients) * waitingKiB * KiB <= 4 * MiB);
        const grownMiB = ((await steadyBytes(frontDoor.pid)) - before) / MiB;
        assert.ok(grownMiB < 65, `300 connections on which requests wait take ${Math.round(grownMiB)} MiB`);
        const { limit } = await frontDoor.logged(({ msg }) =>
          msg.startsWith('limits.waitingBytes is reached'),
        );
        assert.equal(limit, 'limits.waitingBytes');
        waiting.splice(0).forEach(answerOk);
        for (let i = 0; i < 2; i++) assert.equal((await honest.response()).status, 200);
        for (const client of [honest, ...clients]) client.leave();
      }));
  }

  for (const [what, bytes, mostKiB] of [
    ['in chunks of one byte', push('Transfer-Encoding: chunked') + inChunksOfOne(20 * KiB), 900],
    ['that waits for its turn', push(`Content-Length: ${3 * MiB}`) + kilobytes(768), 300],
    ['that was refused', push('Content-Length: 10000000000') + kilobytes(768), 300],
  ] as const) {
    test(`a body ${what}: no more of it than a piece of the kernel's`, () =>
      withFrontDoor(['limits.waitingBytes=1GiB', 'limits.refusedBodyTimeout=10m'], async (frontDoor) => {
        const before = await steadyBytes(frontDoor.pid);
        const clients = await openCrowd(frontDoor, 150, bytes);
        assert.equal((await exchange(frontDoor, authorized('GET /v2/app/blobs/x'))).status, 200);
        const kib = ((await steadyBytes(frontDoor.pid)) - before) / 150 / KiB;
        assert.ok(kib < mostKiB, `${Math.round(kib)} KiB for each of 150 connections`);
        assert.equal(countOpen(clients), 150);
        waiting.splice(0);
        for (const client of clients) client.leave();
      }));
  }
});
