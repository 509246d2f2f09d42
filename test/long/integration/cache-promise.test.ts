import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { createCacheClient } from '../../support/cache-client.ts';
import { findViolations, type Violation } from '../../support/cache-history.ts';
import { createCacheLoad, hotTag, type CacheLoad } from '../../support/cache-load.ts';
import { startCacheRelay, type CacheRelay } from '../../support/cache-relay.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { copyProgram } from '../../support/program-copy.ts';
import { startRedis, until, type RedisServer } from '../../support/redis.ts';
import { startRegistry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { workerPids } from '../../support/workers.ts';

// The long form: CACHE_HISTORY_SECONDS=60 npm test -- --only-tests cache-promise
const long = process.env['CACHE_HISTORY_SECONDS'];
const seconds = Number(long ?? 1);
const skipShort = long === undefined && 'only in the long form';
const timeout = 60_000 + 20_000 * seconds;

const manyWorkers = ['workers=3', 'cache.tagTtl=1h'];

/** Two instances with one Redis and one registry, and relays in between that can be slow. */
type Stage = {
  readonly redis: RedisServer;
  /** One for each instance. */
  readonly toRedis: readonly CacheRelay[];
  /** One for both: what comes from one upstream.url is shared. */
  readonly toUpstream: CacheRelay;
  readonly frontDoors: readonly FrontDoor[];
  readonly load: CacheLoad;
  close(): Promise<void>;
};

async function openStage(options: {
  frontDoors: number;
  set: readonly string[];
  within?: readonly string[];
}): Promise<Stage> {
  const registry = await startRegistry();
  const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'no'] });
  const toUpstream = await startCacheRelay(Number(new URL(registry.url).port));
  const toRedis = await Promise.all(
    Array.from({ length: options.frontDoors }, () => startCacheRelay(redis.port)),
  );
  const frontDoors = await Promise.all(
    toRedis.map(({ port }) =>
      startFrontDoor({
        upstreamUrl: `http://127.0.0.1:${toUpstream.port}`,
        within: options.within ?? [],
        set: [
          'cache.driver=redis',
          `cache.redis.url=redis://127.0.0.1:${port}`,
          'cache.redis.timeout=200ms', // a machine that is busy with other tests is not to be taken for a slow Redis
          ...options.set,
        ],
      }),
    ),
  );
  const clients = frontDoors.map(createCacheClient);
  return {
    redis,
    toRedis,
    toUpstream,
    frontDoors,
    load: await createCacheLoad(clients),
    close: async () => {
      for (const client of clients) client.close();
      for (const frontDoor of frontDoors) await frontDoor.stop();
      for (const relay of [...toRedis, toUpstream]) await relay.close();
      await redis.stop();
      await registry.stop();
    },
  };
}

const upTo = (longestMs: number) => pause(Math.random() * longestMs);

/** Waits until every instance that logged that it cannot use Redis logs that it does again, and a little longer. */
async function untilInUse({ frontDoors }: Stage): Promise<void> {
  const said = ({ log }: FrontDoor, words: string) => log.filter(({ msg }) => msg.includes(words)).length;
  await until(
    'Redis is in use again',
    () =>
      frontDoors.every(
        (frontDoor) => said(frontDoor, 'Redis cannot be used') === said(frontDoor, 'Redis is back'),
      ),
    60_000,
  );
  await pause(500);
}

/**
 * Holds what the registry answers to pulls until something else was pushed: the newest answer reaches the front door first,
 * the oldest last. Whoever stores what was asked for before a push then stores it for good.
 */
async function overtake({ toUpstream, load }: Stage): Promise<void> {
  const pushes = () =>
    load.histories.find(({ name }) => name === hotTag)?.writes.filter(({ acknowledged }) => acknowledged)
      .length ?? 0;
  const untilPushed = async () => {
    const before = pushes();
    await until('a push is acknowledged', () => pushes() > before);
  };
  const isHot = (target: string) => target.startsWith(`/v2/${hotTag.split(':')[0]}/manifests/`);
  toUpstream.stallReads();
  // The first one ends the entry, so that it is asked for; the second comes between that answer and its way to the cache.
  await untilPushed();
  await until('the registry has answered a pull', () => toUpstream.heldReads.some(isHot));
  await untilPushed();
  await toUpstream.releaseReads();
  await pause(100);
}

/** What is done, again and again, while clients push, delete and pull; it leaves all as it was. */
const faults: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  nothing: ({ load }) => until('answers come from the cache', () => load.operations.hits > 50, 60_000),
  'the registry slow': async ({ toUpstream }) => {
    toUpstream.delayMs = 60;
    await pause(400);
    toUpstream.delayMs = 0;
  },
  'answers of the registry that come after a push': overtake,
  'the registry and Redis slow': async ({ toUpstream, toRedis }) => {
    for (const relay of [toUpstream, ...toRedis]) relay.delayMs = 30;
    await pause(400);
    for (const relay of [toUpstream, ...toRedis]) relay.delayMs = 0;
  },
  'Redis flushed': async ({ redis }) => {
    await upTo(150);
    await redis.admin.flushall();
  },
  'Redis frozen': async ({ redis }) => {
    redis.pause();
    await upTo(500);
    redis.resume();
  },
  'Redis killed, back with all that it had': async ({ redis }) => {
    await redis.kill();
    await redis.start();
  },
  'Redis killed, back with what it had a while ago': async ({ redis }) => {
    await redis.admin.config('SET', 'appendonly', 'no');
    await upTo(1000);
    await redis.kill();
    await redis.start(); // it reads the file that was no longer written
  },
  'Redis killed, back with nothing': async ({ redis }) => {
    await redis.admin.flushall();
    await redis.kill();
    await redis.start();
  },
  'Redis read-only': async ({ redis }) => {
    await redis.admin.config('SET', 'min-replicas-to-write', '1');
    await upTo(300);
    await redis.admin.config('SET', 'min-replicas-to-write', '0');
    await upTo(300);
    await redis.admin.replicaof('127.0.0.1', 1);
    await upTo(300);
    await redis.admin.replicaof('NO', 'ONE');
  },
  'Redis full': async ({ redis }) => {
    await upTo(200);
    await redis.admin.config('SET', 'maxmemory', '1');
    await upTo(400);
    await redis.admin.config('SET', 'maxmemory', '0');
  },
  'connections to Redis ended': async ({ redis }) => {
    await redis.admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  },
};

/** The short form leaves out what others come close to. */
const onlyInTheLongForm = [
  'the registry slow',
  'Redis killed, back with nothing',
  'connections to Redis ended',
];

const skip = unlessInstalled('docker-registry', 'redis-server');

describe('never stale: two front doors over one Redis', { skip, timeout }, () => {
  let stage: Stage;
  before(async () => {
    stage = await openStage({ frontDoors: 2, set: ['cache.tagTtl=1h'] });
  });
  after(() => stage.close());

  for (const [name, fault] of Object.entries(faults)) {
    test(name, { skip: onlyInTheLongForm.includes(name) && skipShort }, async (t) => {
      const found = await runWithFault(t, stage, async () => {
        await fault(stage);
        await untilInUse(stage);
      });
      assert.deepEqual(found, []);
    });
  }
});

test(
  'cut off from a Redis that another reaches: that one may be stale, and only for tagTtl',
  { skip, timeout },
  async (t) => {
    const stage = await openStage({ frontDoors: 2, set: ['cache.tagTtl=2s'] });
    try {
      const found = await runWithFault(t, stage, async () => {
        stage.toRedis[0]?.stall();
        await pause(2500);
        stage.toRedis[0]?.release();
        await untilInUse(stage);
      });
      for (const violation of found) {
        assert.equal(violation.read.via, '1');
        assert.ok(violation.staleMs <= 2000, JSON.stringify(violation));
      }
      t.diagnostic(`stale for ${Math.max(0, ...found.map(({ staleMs }) => staleMs)).toFixed(0)} ms at most`);
    } finally {
      await stage.close();
    }
  },
);

test('never stale: one front door with the embedded cache', { skip, timeout }, async (t) => {
  const stage = await openStage({ frontDoors: 1, set: ['cache.driver=memory', 'cache.tagTtl=1h'] });
  try {
    assert.deepEqual(await runWithFault(t, stage, () => faults['the registry slow']?.(stage)), []);
  } finally {
    await stage.close();
  }
});

test('never stale: three workers, each with its part of the embedded cache', { skip, timeout }, async (t) => {
  const stage = await openStage({ frontDoors: 1, set: [...manyWorkers, 'cache.driver=memory'] });
  try {
    const [frontDoor] = stage.frontDoors;
    const pids = frontDoor ? await workerPids(frontDoor) : [];
    const stopOne = async () => {
      const pid = pids[Math.floor(Math.random() * pids.length)] ?? 0;
      process.kill(pid, 'SIGSTOP');
      await upTo(300);
      process.kill(pid, 'SIGCONT');
      await upTo(300);
    };
    for (const fault of [faults['the registry slow'], stopOne])
      assert.deepEqual(await runWithFault(t, stage, () => fault?.(stage)), []);
  } finally {
    await stage.close();
  }
});

/** What keeps the promise, each taken out of a copy of the program: the check above must then fail. */
const omissions = [
  {
    isLong: false,
    what: 'a fill lands whatever was written since it was asked for',
    driver: 'memory',
    file: 'cache/stores/memory-store.js',
    from: '|| ticket !== ticketOf(scope, slot.item)',
    to: '',
  },
  {
    isLong: false,
    what: 'the same in Redis',
    driver: 'redis',
    file: 'cache/stores/redis-scripts.js',
    from: 'if stamp .. scope[1] ~= ARGV[1] then return { 0, 0 } end',
    to: '',
  },
  {
    isLong: false,
    what: 'a worker does not act on what others tell',
    driver: 'memory',
    file: 'supervisor/workers/worker-channel.js',
    from: 'act(message.notice);',
    to: '',
  },
  {
    isLong: true,
    what: 'a fetch is joined whatever was written since it began',
    driver: 'memory',
    file: 'cache/shared-fetches.js',
    from: 'underWay?.ticket === ticket',
    to: 'underWay !== undefined',
  },
];

for (const { isLong, what, driver, file, from, to } of omissions) {
  test(`the check finds that ${what}`, { skip: skip || (isLong && skipShort), timeout }, async (t) => {
    const copy = await copyProgram([{ file, from, to }]);
    const stage = await openStage({
      frontDoors: 1,
      set: [
        `cache.driver=${driver}`,
        ...(file.startsWith('supervisor/') ? manyWorkers : ['cache.tagTtl=1h']),
      ],
      within: copy.within,
    });
    try {
      const giveUpAtMs = performance.now() + 60_000;
      let found: Violation[] = [];
      while (found.length === 0 && performance.now() < giveUpAtMs)
        found = await runWithFault(t, stage, () => overtake(stage));
      assert.notEqual(found.length, 0);
    } finally {
      await stage.close();
      await copy.remove();
    }
  });
}

/** Runs the load while the fault comes again and again; gives the violations among the reads. */
async function runWithFault(
  t: TestContext,
  { load }: Stage,
  fault: () => Promise<unknown> | undefined,
): Promise<Violation[]> {
  const before = { ...load.operations };
  const startMs = performance.now();
  let times = 0;
  await load.run(async () => {
    do {
      times += 1;
      await fault();
    } while (performance.now() < startMs + seconds * 1000);
  });
  const counted = Object.entries(load.operations).map(
    ([what, count]) => `${count - before[what as keyof typeof before]} ${what}`,
  );
  const violations = load.histories.flatMap(findViolations).filter(({ read }) => read.startMs > startMs);
  t.diagnostic(`${counted.join(', ')}, ${times} times the fault, ${violations.length} violations`);
  assert.deepEqual(load.faults, []);
  return violations;
}
