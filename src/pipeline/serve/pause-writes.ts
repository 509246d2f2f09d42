import { deleteConflictOf } from '../../registry/delete-conflict.ts';
import { OciError } from '../../registry/error.ts';
import type { Operation } from '../../registry/operation.ts';
import type { HoldRefusal, Leave } from '../../locks/repository-activity.ts';
import { unsettledMs } from '../../locks/repository-locks.ts';
import type { WritePause } from '../../locks/write-pause.ts';
import type { Exchange } from '../exchange.ts';
import { clientGone } from '../tag-rules/tag-lookup.ts';

/**
 * Calls `proceed`, which forwards a write, when writes are not paused. @throws OciError UNAVAILABLE when the pause takes
 * too long, or too many wait.
 */
export type PauseWrites = (
  exchange: Exchange,
  operation: Operation,
  proceed: () => Promise<void>,
) => Promise<void>;

const retryAfterSeconds = 30;

/** @param maxHeld how many writes are held */
export function createPauseWrites(pause: Pick<WritePause, 'enter' | 'wait'>, maxHeld: number): PauseWrites {
  const hold = async ({ res }: Exchange, settles: boolean): Promise<Leave> => {
    const over = new AbortController();
    const stop = () => over.abort();
    res.once('close', stop);
    if (res.destroyed) stop();
    const entered = await pause.wait(settles, { maxHeld, signal: over.signal });
    res.off('close', stop);
    if (typeof entered === 'string') throw refuse(entered);
    return entered;
  };

  return async (exchange, operation, proceed) => {
    // The parts of an upload change nothing that a collector looks at.
    const settles = deleteConflictOf(operation) !== null;
    const leave = pause.enter(settles) ?? (await hold(exchange, settles));
    try {
      await proceed();
      // Without an answer the registry may still be at it.
      leave(exchange.res.writableEnded ? 0 : unsettledMs);
    } finally {
      leave(unsettledMs);
    }
  };
}

function refuse(refusal: HoldRefusal): OciError {
  if (refusal === 'gone') return clientGone();
  const why =
    refusal === 'late'
      ? 'The registry is being cleaned up and takes no writes'
      : 'The registry is being cleaned up, and too many writes wait for the end';
  return new OciError('UNAVAILABLE', `${why}: try again in a moment.`, {
    headers: { 'Retry-After': String(retryAfterSeconds) },
  });
}
