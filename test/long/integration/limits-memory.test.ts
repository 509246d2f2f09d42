import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { countOpen, openCrowd, steadyBytes } from '../../support/crowd.ts';
import { startFrontDoor, user, type FrontDoor } from '../../support/front-door.ts';
import { anonymous, authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const KiB = 1024;
const crowdSize = 200;
const ten = 10_000_000_000;

const kilobytes = (count: number) => 'x'.repeat(count * KiB);
const inChunksOfOne = (bytes: number) => '1\r\nx\r\n'.repeat(bytes);
const wrong = (number: number | string) => `Authorization: Basic ${btoa(`${user}:wrong ${number}`)}`;
const padded = anonymous('GET /v2/app/blobs/x', `X-Padding: ${kilobytes(30)}`);
const locked = (requestLine: string, ...lines: string[]) => anonymous(requestLine, wrong('again'), ...lines);

describe('what clients without a right password make the process hold', { timeout: 550_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
  });
  after(() => upstream.close());

  const withFrontDoor = async (settings: readonly string[], use: (frontDoor: FrontDoor) => Promise<void>) => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: [
        ...['auth.throttle.addressFailures=1', 'auth.throttle.answerDelay=1m', 'auth.tokens=on'],
        ...['limits.headerTimeout=10m', 'limits.refusedBodyTimeout=10m', ...settings],
      ],
    });
    try {
      // Who has been here before is not locked out with the address.
      assert.equal((await exchange(frontDoor, authorized('GET /v2/app/blobs/x'))).status, 200);
      // The address is locked out: from here on, the answers to wrong passwords are held back.
      assert.equal((await exchange(frontDoor, anonymous('GET /v2/x', wrong('first')))).status, 401);
      await use(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };

  // An idle one takes 36 KiB, one that has sent a whole piece of the kernel's memory (64 KiB) up to 128 KiB more.
  for (const [what, bytes, mostKiB] of [
    ['heads of 30 KiB behind an answer that is held back', locked('GET /v2/x') + padded.repeat(15), 330],
    [
      'a body behind an answer that is held back',
      locked('POST /v2/app/blobs/uploads/', `Content-Length: ${ten}`) + kilobytes(768),
      300,
    ],
    [
      'a body in chunks of one byte behind such an answer',
      locked('POST /v2/app/blobs/uploads/', 'Transfer-Encoding: chunked') + inChunksOfOne(20 * KiB),
      600,
    ],
    [
      'a form in chunks of one byte',
      anonymous(
        'POST /token',
        'Content-Type: application/x-www-form-urlencoded',
        'Transfer-Encoding: chunked',
      ) + inChunksOfOne(30 * KiB),
      600,
    ],
    [
      'a body that was refused',
      anonymous('POST /v2/app/blobs/uploads/', `Content-Length: ${ten}`) + kilobytes(768),
      250,
    ],
  ] as const) {
    test(`${what}: no more of it than a piece of the kernel's`, () =>
      withFrontDoor(['limits.unprovenBytes=1GiB'], async (frontDoor) => {
        for (const client of await openCrowd(frontDoor, 40, anonymous('GET /v2/x'))) client.leave();
        const before = await steadyBytes(frontDoor.pid);
        const clients = await openCrowd(frontDoor, crowdSize, bytes);
        assert.equal((await exchange(frontDoor, authorized('GET /v2/app/blobs/x'))).status, 200);
        const kib = ((await steadyBytes(frontDoor.pid)) - before) / crowdSize / KiB;
        assert.ok(kib < mostKiB, `${Math.round(kib)} KiB for each of ${crowdSize} connections`);
        assert.equal(countOpen(clients), crowdSize);
        for (const client of clients) client.leave();
      }));
  }

  test('limits.unprovenBytes: those that hold the most are closed, and nobody who asks as clients do', () =>
    withFrontDoor(['limits.unprovenBytes=1MiB'], async (frontDoor) => {
      const [small, idle] = [await connectClient(frontDoor), await connectClient(frontDoor)];
      small.send(locked('GET /v2/x'));
      const clients = await openCrowd(frontDoor, 100, padded.slice(0, 20 * KiB));
      await until('what is left fits', () => countOpen(clients) * 20 * KiB <= 1024 * KiB);
      await frontDoor.logged(({ msg }) => msg.startsWith('limits.unprovenBytes is reached'));
      assert.equal(small.socket.readyState, 'open');
      idle.send(authorized('GET /v2/app/blobs/x'));
      assert.equal((await idle.response()).status, 200);
      for (const client of [small, idle, ...clients]) client.leave();
    }));

  test('limits.refusedBodies: of further ones nothing is read, and the answer comes all the same', () =>
    withFrontDoor(['limits.refusedBodies=1'], async (frontDoor) => {
      const refused = anonymous('POST /v2/app/blobs/uploads/', 'Content-Length: 1000');
      const [first, second] = [await connectClient(frontDoor), await connectClient(frontDoor)];
      for (const client of [first, second]) {
        client.send(refused);
        assert.equal((await client.response()).status, 401);
      }
      // Read to its end, a refused body ends the connection; the second goes on when its time is up.
      for (const client of [second, first]) client.send('x'.repeat(1000));
      assert.equal((await first.rest()).length, 0);
      assert.equal(second.socket.readyState, 'open');
      // There is room again.
      const third = await connectClient(frontDoor);
      third.send(refused);
      assert.equal((await third.response()).status, 401);
      third.send('x'.repeat(1000));
      assert.equal((await third.rest()).length, 0);
      second.leave();
    }));
});
