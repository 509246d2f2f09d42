import path from 'node:path';
import { createRandom } from '../../test/support/random.ts';
import { findAdmin } from '../../test/support/admin.ts';
import { basic, startFrontDoor } from '../../test/support/front-door.ts';
import { startRedis, until } from '../../test/support/redis.ts';
import { startRegistry } from '../../test/support/registry.ts';
import { createJudge } from '../support/judge.ts';
import { describeGrowth, takeCensus, type Census } from '../support/process-census.ts';
import { basicOf, createSoakLoad } from '../support/soak-load.ts';
import { createSoakTroubles, soakConfig } from '../support/soak-troubles.ts';
import { createTally } from '../support/tally.ts';
import type { Form, Part } from '../trial.ts';

/** How long it lasts, and how many clients work at a time: as many as keep two cores busy, but beside other tests. */
const sizes: Readonly<
  Record<Form, { readonly warmUpMs: number; readonly runMs: number; readonly clients: number }>
> = {
  quick: { warmUpMs: 14_000, runMs: 40_000, clients: 2 },
  ci: { warmUpMs: 45_000, runMs: 250_000, clients: 16 },
  long: { warmUpMs: 120_000, runMs: 3_460_000, clients: 16 },
};
/** How much the memory may grow from the warm-up to the end. */
const growthLimit = 1.2;
/** The lines of the users who do not change: see front-door.ts for the one's password, the other's is his name. */
const users =
  'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\nrob:{SHA}fgnJ0+ljeL9Un8KD/W4eW3AUzDM=\n';

/**
 * All that clients do, at once and for long, while the configuration is reloaded, passwords change, Redis is restarted and workers are killed.
 * What Node's timers hold cannot be seen from outside; what they would do at rest can: connections, descriptors, threads and memory.
 */
export const soak: Part = {
  name: 'soak',
  open: async ({ form, seed }) => {
    const { warmUpMs, runMs, clients } = sizes[form];
    const random = createRandom(seed);
    const registry = await startRegistry();
    const redis = await startRedis();
    const frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      config: soakConfig('900s'),
      htpasswd: users,
      set: [
        ...['workers=2', 'admin.port=0', 'cache.driver=redis', `cache.redis.url=redis://${redis.address}`],
        ...[`upstream.storage=${registry.storageDir}`, 'log.accessFile=access.log'],
        // One user's password changes all the time here, and the old one is tried each time: the name would be locked out.
        'auth.throttle.nameFailures=0',
      ],
    });
    const accessPath = path.join(frontDoor.dir, 'access.log');
    const admin = await findAdmin(frontDoor);
    const judge = createJudge();
    const done = createTally();
    const common = { frontDoor, random, judge };
    const troubles = createSoakTroubles({ ...common, redis, users, accessPath, done });
    const load = createSoakLoad({
      ...common,
      storageDir: registry.storageDir,
      pusher: basic,
      reader: basicOf('rob', 'rob'),
      clients,
    });

    const work = async (ms: number) => {
      const endMs = performance.now() + ms;
      // What a worker leaks ends with it: most of the time they live.
      const killUntilMs = performance.now() + ms / 3;
      let saidMs = performance.now();
      await load.run(async () => {
        while (performance.now() < endMs) {
          await troubles.run(endMs, killUntilMs);
          if (form === 'quick' || performance.now() - saidMs < 30_000) continue;
          saidMs = performance.now();
          console.log(
            `\n    ${Math.round((endMs - saidMs) / 1000)} s to go: ${load.operations.toString()}; ${done.toString()}`,
          );
        }
      });
    };
    /** What Tidegate holds without requests. */
    const rest = async (): Promise<Census> => {
      await troubles.rotateLog();
      const idle = async () => (await admin.metrics()).get('tidegate_connections') === 0;
      await until('all clients have left', idle, 30_000);
      await troubles.reload(); // what was kept for the next request to upstream is closed with the old service
      let last = await takeCensus(frontDoor.pid);
      await until('what was under way has ended', async () => {
        const before = last;
        last = await takeCensus(frontDoor.pid);
        return describeGrowth(before, last) === '' && describeGrowth(last, before) === '';
      });
      return last;
    };
    let before: Census | undefined;

    return {
      trials: [
        {
          name: `${clients} clients that push, pull, delete, log in and leave, amid reloads, restarts of Redis and killed workers: every digest right, no unexplained error, nothing stale`,
          run: async () => {
            await work(warmUpMs);
            before = await rest();
            await work(runMs);
            const { faults, explained } = judge;
            const figure = `${load.operations.toString()}; ${load.reads} reads checked, ${load.hits} from the cache; ${done.toString()}; explained: ${explained.toString()}`;
            if (faults.length > 0) throw new Error([figure, ...faults].join('\n'));
            if (load.hits === 0 || load.operations.of('pulls') === 0) throw new Error('nothing was tried');
            return { cases: load.operations.of('requests'), figure };
          },
        },
        {
          name: 'after it no connection, descriptor, process or thread is left, and memory is back within 20 %',
          run: async () => {
            if (!before) throw new Error('the load did not come to its end');
            const after = await rest();
            const grown = describeGrowth(before, after);
            const mib = ({ residentBytes }: Census) => Math.round(residentBytes / 1024 / 1024);
            if (grown !== '') throw new Error(`more than before: ${grown}`);
            if (after.residentBytes > growthLimit * before.residentBytes)
              throw new Error(`memory has grown from ${mib(before)} to ${mib(after)} MiB`);
            if (judge.faults.length > 0) throw new Error(judge.faults.join('\n'));
            const figure = `${mib(before)} MiB in all processes after the warm-up, ${mib(after)} MiB at the end.`;
            return { cases: 1, figure };
          },
        },
      ],
      close: async () => {
        await frontDoor.stop();
        await redis.stop();
        await registry.stop();
        const crashes = frontDoor.log.filter(
          ({ msg }) => msg === 'a worker process has ended: another takes its place',
        );
        if (crashes.length > done.of('killed worker'))
          throw new Error('a worker ended that nobody had killed');
      },
    };
  },
};
