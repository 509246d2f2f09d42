import { setTimeout as pause } from 'node:timers/promises';
import { createCacheClient, type CacheClient } from '../../test/support/cache-client.ts';
import { digestOf, ociManifest } from '../../test/support/cache-load.ts';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { startRedis, until, type RedisServer } from '../../test/support/redis.ts';
import type { Form, Trial } from '../trial.ts';
import type { Bystander } from './bystander.ts';
import { interjections, nonsenses, type RedisImpostor } from './redis-impostor.ts';

export type RedisFaultsPlace = {
  readonly form: Form;
  readonly frontDoor: FrontDoor;
  readonly redis: RedisServer;
  /** The relay between Tidegate and Redis. */
  readonly impostor: RedisImpostor;
  readonly bystander: Bystander;
  /** A repository, and a manifest for it without the last brace, to extend with anything. */
  readonly repository: string;
  readonly manifest: (note: string) => string;
};

/** How long to send each kind of nonsense after all workers have received some, in milliseconds. */
const holdMs: Readonly<Record<Form, number>> = { quick: 60, ci: 1500, long: 5000 };

export function createRedisFaults(place: RedisFaultsPlace): Trial[] {
  const { form, frontDoor, redis, impostor, bystander, repository, manifest } = place;
  const clients: readonly CacheClient[] = [createCacheClient(frontDoor), createCacheClient(frontDoor)];
  const target = (tag: string) => `/v2/${repository}/manifests/${tag}`;
  const push = async (tag: string, note: string): Promise<string> => {
    const body = manifest(note);
    const headers = { 'Content-Type': ociManifest };
    const answer = await clients[0]?.ask('PUT', target(tag), { headers, body });
    if (answer?.status !== 201) throw new Error(`a push was answered ${answer?.status}`);
    return digestOf(body);
  };
  const pull = async (tag: string, digest: string): Promise<string> => {
    const caches = await Promise.all(
      clients.map(async (client) => {
        const answer = await client.ask('GET', target(tag), { headers: { Accept: ociManifest } });
        const got = digestOf(answer.body);
        if (answer.status !== 200 || got !== digest)
          throw new Error(`a pull of ${tag} was answered ${answer.status} with ${got}, and not ${digest}`);
        return answer.header('X-Cache');
      }),
    );
    return caches.join();
  };
  /** Waits until any worker uses it again. */
  const untilHit = async (tag: string, digest: string) =>
    until('the cache is used again', async () => (await pull(tag, digest)) === 'HIT,HIT', 30_000);
  const saidLost = () => frontDoor.log.filter(({ msg }) => msg.startsWith('Redis cannot be used')).length;
  /** Each process may log it once, and again if Redis was back in between. */
  const assertNoFlood = (before: number, times = 1) => {
    const said = saidLost() - before;
    if (said > 4 * times) throw new Error(`the log says ${said} times that Redis is lost`);
  };

  const begin = async (tag: string) => {
    const digest = await push(tag, tag);
    await untilHit(tag, digest);
    return { digest, lostBefore: saidLost() };
  };

  const replaced: Trial = {
    name: `Redis replaced by something that speaks nonsense, in ${Object.keys(nonsenses).length} ways: pulls and pushes go on, no process ends, and the real one is used again`,
    run: async () => {
      const { digest, lostBefore } = await begin('nonsense');
      let latest = digest;
      for (const [name, nonsense] of Object.entries(nonsenses)) {
        const opened = impostor.connections;
        impostor.speak(nonsense);
        try {
          await until('it is spoken to', () => impostor.connections >= opened + 2);
          await pause(holdMs[form]);
          latest = await push('nonsense', name);
          await pull('nonsense', latest);
          bystander.check();
        } catch (cause) {
          throw new Error(`${name}: ${(cause as Error).message}`, { cause });
        }
      }
      impostor.speak(null);
      await untilHit('nonsense', latest);
      assertNoFlood(lostBefore);
      return Object.keys(nonsenses).length;
    },
  };

  const interrupted: Trial = {
    name: 'answers that nobody asked for, on a connection in use: no answer is taken for that to another question',
    run: async () => {
      const chosen = Object.entries(interjections).slice(0, form === 'quick' ? 2 : undefined);
      const one = await begin('one');
      const other = await begin('other');
      for (const [name, bytes] of chosen) {
        try {
          impostor.interject(bytes);
          for (let i = 0; i < 20; i += 1)
            await Promise.all([pull('one', one.digest), pull('other', other.digest)]);
          await bystander.settled();
          await untilHit('one', one.digest);
          await untilHit('other', other.digest);
        } catch (cause) {
          throw new Error(`${name}: ${(cause as Error).message}`, { cause });
        }
      }
      assertNoFlood(one.lostBefore, chosen.length);
      return chosen.length;
    },
  };

  const wrongTypes: Trial = {
    name: "keys of the cache replaced by somebody's of another type: they are mended, and the log is not filled",
    run: async () => {
      const { digest, lostBefore } = await begin('types');
      const all = await redis.admin.keys('tidegate:*');
      for (const key of all) {
        const type = await redis.admin.type(key);
        // At once, or Tidegate could come in between.
        const replacing = redis.admin.multi().del(key);
        await (type === 'string' ? replacing.lpush(key, 'x') : replacing.set(key, 'x')).exec();
      }
      await pull('types', digest);
      const latest = await push('types', 'another');
      await untilHit('types', latest);
      await bystander.settled();
      assertNoFlood(lostBefore);
      return all.length;
    },
  };

  const older: Trial = {
    name: 'Redis replaced by another one that holds an older manifest, and the very same words: it is not believed',
    run: async () => {
      const { digest } = await begin('moved');
      const copy = await startRedis();
      try {
        for (const key of await redis.admin.keys('tidegate:*'))
          await copy.admin.restore(key, 0, await redis.admin.dumpBuffer(key), 'REPLACE');
        const latest = await push('moved', 'a newer one');
        await pull('moved', latest);
        impostor.redirect(copy.port);
        for (let i = 0; i < 20; i += 1) await pull('moved', latest);
        await untilHit('moved', latest);
        impostor.redirect(redis.port);
        await pull('moved', latest);
        if (digest === latest) throw new Error('nothing was tried');
      } finally {
        impostor.redirect(redis.port);
        await copy.stop();
      }
      await bystander.settled();
    },
  };

  const troubles: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      'killed and started again',
      async () => {
        await redis.kill();
        await pause(200);
        await redis.start();
      },
    ],
    [
      'paused',
      async () => {
        redis.pause();
        await pause(500);
        redis.resume();
      },
    ],
    ['flushed', () => redis.admin.flushall()],
    ['flushed of its scripts', () => redis.admin.script('FLUSH')],
  ];
  const ended: Trial = {
    name: 'Redis killed, paused and flushed under load: pulls and pushes go on, and nothing older is answered after',
    run: async () => {
      let { digest } = await begin('ended');
      const lostBefore = saidLost();
      for (const [name, cause] of form === 'quick' ? troubles.slice(0, 2) : troubles) {
        const caused = cause();
        for (let i = 0; i < 20; i += 1) {
          digest = await push('ended', `${name} ${i}`);
          await pull('ended', digest);
        }
        await caused;
        await untilHit('ended', digest);
      }
      await bystander.settled();
      assertNoFlood(lostBefore, 2);
      return troubles.length;
    },
  };
  return [replaced, interrupted, wrongTypes, older, ended];
}
