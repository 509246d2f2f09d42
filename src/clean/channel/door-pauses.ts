import { setTimeout as wait } from 'node:timers/promises';
import type { DoorAsk, PauseAnswer } from './messages.ts';

/** Writes are held at all front doors. */
export type DoorPause = {
  /** Aborted when a front door may let writes through again: it was silent, or cannot hold them. */
  readonly lost: AbortSignal;
  /** Never rejects: a front door that is not told goes on by itself. */
  resume(): Promise<void>;
};

export type DoorPauses<Door> = {
  /**
   * Holds writes, and waits until none is under way. Null: they did not end in time.
   * @throws what a front door's failure throws
   */
  pause(maxPauseMs: number): Promise<DoorPause | null>;
  /** Tells a front door that has just come whether writes are held. */
  greet(door: Door): Promise<void>;
};

export type DoorPausesOptions<Door> = {
  /** Those that serve now. @throws what their failure throws */
  readonly doors: () => readonly Door[];
  /** Waits for at most 5 s. */
  readonly ask: (door: Door, message: Extract<DoorAsk, { kind: 'pause' | 'resume' }>) => Promise<unknown>;
};

/** How often a pause is asked for again: a front door forgets it after 10 s. */
const repeatMs = 1000;
/** How long the front doors may not be reached. With the time of an answer that is less than those 10 s. */
const lostMs = 3000;
/** How long writes under way may take to end. */
const quietMs = 60_000;
const pollMs = 100;

/** Pauses the writes of all front doors, one pause at a time. */
export function createDoorPauses<Door>({ doors, ask }: DoorPausesOptions<Door>): DoorPauses<Door> {
  /** When the time of the present pause is over; null: there is none. */
  let untilMs: number | null = null;

  const askPause = (door: Door): Promise<unknown> =>
    ask(door, { kind: 'pause', maxPauseMs: Math.max(0, Math.round((untilMs ?? 0) - performance.now())) });
  const askAll = async (): Promise<boolean> => {
    const answers = (await Promise.all(doors().map(askPause))) as PauseAnswer[];
    return answers.every(({ quiet }) => quiet);
  };
  const resume = async (): Promise<void> => {
    untilMs = null;
    try {
      await Promise.allSettled(doors().map((door) => ask(door, { kind: 'resume' })));
    } catch {
      // Those that are told nothing go on by themselves.
    }
  };

  /** Repeats it until it ends. One of them may connect anew meanwhile. */
  const keep = async (lost: AbortController, over: AbortSignal): Promise<void> => {
    let heldMs = performance.now();
    for (;;) {
      await wait(repeatMs, undefined, { signal: over }).catch(() => {});
      if (over.aborted) return;
      const askedMs = performance.now();
      try {
        await askAll();
        heldMs = askedMs;
      } catch (error) {
        if (performance.now() - heldMs < lostMs) continue;
        lost.abort(error);
        return;
      }
    }
  };

  return {
    pause: async (maxPauseMs) => {
      untilMs = performance.now() + maxPauseMs;
      const quietUntilMs = performance.now() + Math.min(quietMs, maxPauseMs);
      try {
        while (!(await askAll())) {
          if (performance.now() > quietUntilMs) {
            await resume();
            return null;
          }
          await wait(pollMs);
        }
      } catch (error) {
        await resume();
        throw error;
      }
      const lost = new AbortController();
      const over = new AbortController();
      void keep(lost, over.signal);
      return {
        lost: lost.signal,
        resume: () => {
          over.abort();
          return resume();
        },
      };
    },
    greet: async (door) => {
      await (untilMs === null ? ask(door, { kind: 'resume' }) : askPause(door));
    },
  };
}
