import { createHash } from 'node:crypto';
import { readFile, rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { until, type RedisServer } from '../../test/support/redis.ts';
import { isRefusal, replaceConfig, replaceFile, sighup } from '../../test/support/reload.ts';
import { workerPids } from '../../test/support/workers.ts';
import type { Judge } from './judge.ts';
import { createLoadClient } from './load-client.ts';
import { basicOf } from './soak-load.ts';
import type { Tally } from './tally.ts';

export type SoakTroubles = {
  /** One round of each, in an order of its own, with a pause after each; ends early at `endMs`, and kills no worker after `killUntilMs`. */
  run(endMs: number, killUntilMs: number): Promise<void>;
  /** Has what answers requests be built anew, and waits until the old is gone with all its connections to upstream. */
  reload(): Promise<void>;
  /** Looks through the lines of requests written since the last time. */
  rotateLog(): Promise<void>;
};

export type SoakTroublesOptions = {
  readonly frontDoor: FrontDoor;
  readonly redis: RedisServer;
  /** The lines of the htpasswd file that stay. */
  readonly users: string;
  readonly accessPath: string;
  readonly random: () => number;
  readonly judge: Judge;
  readonly done: Tally;
};

/** What is served by: who pushes, who only pulls, and what anyone may pull. */
export const soakConfig = (readTimeout: string): string => `
upstream: { readTimeout: ${readTimeout} }
groups: { pushers: [alice] }
policy:
  - { who: [group:pushers], repositories: ["team/**", "public/**"], actions: [pull, push, delete] }
  - { who: [anonymous, user:rob], repositories: ["public/**"], actions: [pull] }
  - { who: [user:rob], repositories: ["team/**"], actions: [pull] }
`;

const pauseMs = 2500;
/** What a change of the htpasswd file may take on a machine that has all it can do; on one that has not it is two seconds. */
const changeLimitMs = 60_000;

export function createSoakTroubles(options: SoakTroublesOptions): SoakTroubles {
  const { frontDoor, redis, users, accessPath, random, judge, done } = options;
  let passwords = 0;
  let readTimeoutS = 900;
  let rotations = 0;
  /** Whether a worker was killed that may have been writing a line. */
  let isTorn = false;

  const reload = async () => {
    readTimeoutS = readTimeoutS === 900 ? 901 : 900;
    await replaceConfig(frontDoor, soakConfig(`${readTimeoutS}s`));
    const outcome = await sighup(frontDoor);
    if (isRefusal(outcome)) judge.fault(`a reload was refused: ${outcome.msg}`);
  };

  const changeGuest = async () => {
    const old = `guest-${passwords}`;
    const next = `guest-${++passwords}`;
    const hash = createHash('sha1').update(next).digest('base64');
    await replaceFile(frontDoor.htpasswdPath, `${users}guest:{SHA}${hash}\n`);
    const ask = async (password: string) => {
      // On connections of their own: each worker is met sooner or later.
      const client = createLoadClient(frontDoor, `127.77.${Math.floor(random() * 256)}.1`);
      const authorization = basicOf('guest', password);
      const startMs = performance.now();
      const answer = await client
        .ask({ method: 'GET', target: '/v2/', authorization })
        .catch((error: unknown) => {
          if (!judge.explains(startMs, performance.now())) throw error;
          return null;
        });
      client.close();
      return answer?.status;
    };
    let seen: unknown[] = [];
    const isInEffect = async () => {
      for (let i = 0; i < 4; i++) {
        seen = [await ask(next), passwords > 1 ? await ask(old) : 401];
        if (seen[0] !== 200 || seen[1] !== 401) return false;
      }
      return true;
    };
    await until('a changed password is in effect', isInEffect, changeLimitMs).catch((error: unknown) => {
      throw new Error(`${String(error)}: the new one got ${String(seen[0])}, the old one ${String(seen[1])}`);
    });
  };

  const rotateLog = async () => {
    const rotated = `${accessPath}.${++rotations}`;
    await rename(accessPath, rotated);
    frontDoor.process.kill('SIGUSR1');
    await until('the log goes on in a new file', async () =>
      readFile(accessPath).then(
        () => true,
        () => false,
      ),
    );
    await pause(500); // each process opens it for itself
    const text = await readFile(rotated, 'utf8');
    await rm(rotated);
    for (const line of text.split('\n')) if (line !== '') readLine(line);
    isTorn = false;
  };
  const readLine = (text: string) => {
    let line: { status?: number; time: string; method?: string; code?: string };
    try {
      line = JSON.parse(text) as typeof line;
    } catch {
      if (!isTorn) judge.fault(`not a log line: ${text.slice(0, 300)}`);
      return;
    }
    if (line.status === undefined || line.status < 500) return;
    done.count(`${line.status} in the log`);
    const endMs = new Date(line.time).getTime() - performance.timeOrigin;
    const ownOf500 = line.status === 500 && line.code === undefined;
    // Deletes need Redis, also for a little after it is back.
    const isUnsureDelete = line.status === 503 && line.method === 'DELETE' && line.code === 'UNAVAILABLE';
    if (!ownOf500 && !isUnsureDelete && !judge.explains(endMs - 6000, endMs + 1000))
      judge.fault(`in the log: ${text}`);
  };

  const killWorker = async () => {
    const before = await workerPids(frontDoor);
    const end = judge.begin('a worker was killed');
    isTorn = true;
    const from = frontDoor.log.length;
    process.kill(before[Math.floor(random() * before.length)] ?? 0, 'SIGKILL');
    await until(
      'another worker serves',
      () => frontDoor.log.slice(from).some(({ msg }) => msg === 'a worker process is listening'),
      60_000,
    );
    end();
  };

  const troubles: readonly (readonly [name: string, cause: () => Promise<void>])[] = [
    ['reload', reload],
    [
      'refused reload',
      async () => {
        await replaceConfig(frontDoor, soakConfig('soon'));
        if (!isRefusal(await sighup(frontDoor))) judge.fault('a wrong configuration was taken');
        await reload();
      },
    ],
    ['changed password', changeGuest],
    ['rotation of the log', rotateLog],
    [
      'restart of Redis',
      async () => {
        await redis.kill();
        await pause(random() * 1500);
        await redis.start();
      },
    ],
    [
      'silence of Redis',
      async () => {
        redis.pause();
        await pause(50 + random() * 1500);
        redis.resume();
      },
    ],
    [
      'flush of Redis',
      async () => {
        await redis.admin.flushall();
      },
    ],
    ['killed worker', killWorker],
  ];

  return {
    run: async (endMs, killUntilMs) => {
      const order = troubles.filter(([, cause]) => cause !== killWorker).sort(() => random() - 0.5);
      if (performance.now() < killUntilMs) order.unshift(['killed worker', killWorker]);
      for (const [name, cause] of order) {
        if (performance.now() > endMs) return;
        await cause();
        done.count(name);
        await pause(Math.max(0, Math.min(pauseMs, endMs - performance.now())));
      }
    },
    reload,
    rotateLog,
  };
}
