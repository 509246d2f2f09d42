import { setTimeout as wait } from 'node:timers/promises';
import { OperatorError } from '../../system/operator-error.ts';
import { printable } from '../../telemetry/log/printable.ts';
import type { DoorLock, Doors } from '../channel/doors.ts';

const limitMs = 60_000;
const pauseMs = 100;

/**
 * Does it while nothing reaches these repositories and digests. Between two tries requests go on.
 *
 * @throws OperatorError when they stay in use. @throws DoorsError
 */
export async function withLock<Result>(
  doors: Doors,
  keys: readonly string[],
  signal: AbortSignal,
  work: (lock: DoorLock) => Promise<Result>,
): Promise<Result> {
  const untilMs = performance.now() + limitMs;
  while (performance.now() < untilMs) {
    signal.throwIfAborted();
    const lock = await doors.lock(keys);
    if (lock !== null) {
      try {
        if ((await doors.evidence({ lock })).held) return await work(lock);
      } finally {
        await lock.release();
      }
    }
    await wait(pauseMs, undefined, { signal });
  }
  throw new OperatorError(
    `${printable(keys[0] ?? '')} has been in use without a break for ${limitMs / 1000} seconds. Try again.`,
  );
}
