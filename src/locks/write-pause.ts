import type { HoldRefusal, Leave } from './repository-activity.ts';

/** Holds the writes of one process while the registry's own collector runs. */
export type WritePause = {
  /**
   * Lets a write through. Null: writes are paused. `settles`: whether it may change what the registry has stored, so
   * that a pause waits for its end.
   */
  readonly enter: (settles: boolean) => Leave | null;
  /** The same after the pause; never rejects. */
  readonly wait: (settles: boolean, limits: WaitLimits) => Promise<Leave | HoldRefusal>;
  /**
   * Holds new writes for up to `maxMs`; later ones are refused at once. It ends by itself unless it is called again within
   * {@link pauseLifeMs}, whose `maxMs` counts from then on. Returns whether no write is under way.
   */
  readonly pause: (maxMs: number) => boolean;
  /** Lets all held writes go on. Without a pause it does nothing. */
  readonly resume: () => void;
  /** A pause until it is known whether there is one: `pause`, `resume` and `endStart` end it, and its life does. */
  readonly holdAtStart: () => void;
  /** There is none. Does nothing if `pause` was called. */
  readonly endStart: () => void;
  /** Calls back at the end of each pause: the registry may no longer have what is cached. */
  readonly onResume: (listener: () => void) => void;
};

/** How long a pause lasts without another word of the cleaner, which may have died, in milliseconds. */
export const pauseLifeMs = 10_000;

type WaitLimits = {
  /** How many writes are held; further ones are refused. */
  readonly maxHeld: number;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
};

export function createWritePause(): WritePause {
  let onResume = () => {};
  let isAtStart = false;
  let underWay = 0;
  /** Null: not paused. */
  let pausedUntilMs: number | null = null;
  let life: NodeJS.Timeout | undefined;
  const held = new Set<() => void>();

  const begin = (settles: boolean): Leave => {
    if (!settles) return () => {};
    underWay += 1;
    return leaveOnce(() => {
      underWay -= 1;
    });
  };
  const enter: WritePause['enter'] = (settles) => (pausedUntilMs === null ? begin(settles) : null);

  const wait: WritePause['wait'] = (settles, { maxHeld, signal }) => {
    const entered = enter(settles);
    if (entered !== null) return Promise.resolve(entered);
    if (signal.aborted) return Promise.resolve('gone');
    const leftMs = (pausedUntilMs ?? 0) - performance.now();
    if (leftMs <= 0) return Promise.resolve('late');
    if (held.size >= maxHeld) return Promise.resolve('crowded');
    return new Promise((resolve) => {
      const end = (outcome: Leave | HoldRefusal) => {
        held.delete(go);
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve(outcome);
      };
      const go = () => end(begin(settles));
      const leave = () => end('gone');
      const timer = setTimeout(() => end('late'), leftMs);
      signal.addEventListener('abort', leave, { once: true });
      held.add(go);
    });
  };

  const resume = (): void => {
    if (pausedUntilMs === null) return;
    clearTimeout(life);
    pausedUntilMs = null;
    onResume();
    for (const go of [...held]) go();
  };

  const pause = (maxMs: number): boolean => {
    isAtStart = false;
    pausedUntilMs = performance.now() + maxMs;
    clearTimeout(life);
    life = setTimeout(resume, pauseLifeMs).unref();
    return underWay === 0;
  };

  return {
    enter,
    wait,
    pause,
    resume,
    holdAtStart: () => {
      pause(pauseLifeMs);
      isAtStart = true;
    },
    endStart: () => {
      if (isAtStart) resume();
    },
    onResume: (listener) => (onResume = listener),
  };
}

function leaveOnce(leave: () => void): Leave {
  let hasLeft = false;
  return (lingerMs = 0) => {
    if (hasLeft) return;
    hasLeft = true;
    if (lingerMs === 0) leave();
    else setTimeout(leave, lingerMs).unref();
  };
}
