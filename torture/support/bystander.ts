import { setTimeout as delay } from 'node:timers/promises';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { values } from '../../test/support/http-message.ts';
import { authorized, connectClient } from '../../test/support/raw-client.ts';
import { until } from '../../test/support/redis.ts';
import { within } from './within.ts';

/** What a bystander asks for, and must always get. */
export type Good = { readonly target: string; readonly bytes: Buffer };

/** A healthy client beside the trouble, which must notice nothing of it. */
export type Bystander = {
  /** Resolves when it has asked anew and been answered: connections that were closed behind it have been replaced. */
  settled(): Promise<void>;
  /** @throws Error when it noticed something. */
  check(): void;
  /** Has it wait while something is done that keeps this process busy, and with it the upstream that is here. */
  aside<T>(work: () => Promise<T>): Promise<T>;
  /** Gives how many right answers it got. Rejects when it noticed something. */
  stop(): Promise<number>;
};

const pauseMs = 15;
/** Slower than this is noticed, in milliseconds; the machine is busy with the trouble. */
const longestMs = 10_000;

/**
 * Starts one: it asks for these in turn, on one connection for ever, and looks at every byte.
 * @param maySayLater whether a 503 that says when to come again is no more than it must put up with
 */
export function startBystander(
  frontDoor: Pick<FrontDoor, 'port' | 'ca'>,
  goods: readonly Good[],
  { maySayLater = false }: { maySayLater?: boolean } = {},
): Bystander {
  let noticed: Error | undefined;
  let isStopping = false;
  let count = 0;
  const loop = async () => {
    const client = await connectClient(frontDoor);
    try {
      while (!isStopping) {
        const { target, bytes } = goods[count % goods.length] ?? { target: '', bytes: Buffer.alloc(0) };
        client.send(authorized(`GET ${target}`));
        const response = await within(longestMs, `the bystander's answer ${count}`, client.response());
        if (maySayLater && response.status === 503 && values(response, 'retry-after').length === 1) {
          await delay(pauseMs);
          continue;
        }
        if (response.status !== 200 || !response.complete || !response.body.equals(bytes))
          throw new Error(
            `got ${response.startLine} and ${response.body.length} bytes for its request ${count} (${target}): ${response.body.toString('latin1', 0, 200)}`,
          );
        count += 1;
        await delay(pauseMs);
      }
    } finally {
      client.leave();
    }
  };
  const start = () =>
    loop().catch((error: unknown) => {
      noticed = new Error(`a bystander noticed: ${error instanceof Error ? error.message : String(error)}`);
    });
  let done = start();
  const check = () => {
    if (noticed) throw noticed;
  };
  const stop = async () => {
    isStopping = true;
    await done;
    check();
    if (count === 0) throw new Error('the bystander got no answer at all');
    return count;
  };
  return {
    check,
    settled: async () => {
      const wanted = count + 6; // the first of them may have gone over connections that are kept no more
      await until('a bystander is answered', () => noticed !== undefined || count >= wanted);
      check();
    },
    aside: async (work) => {
      await stop();
      try {
        return await work();
      } finally {
        isStopping = false;
        done = start();
      }
    },
    stop,
  };
}
