import type { Logger } from 'pino';
import type { PendingChallenge } from './challenges.ts';
import { createKeeper, type AcmeSettings, type Keeper, type KeeperStatus, type OrderLock } from './keeper.ts';

/** How the certificate of the CA fares. */
export type AcmeStatus = KeeperStatus & {
  /** The orders since the start. */
  readonly orders: { readonly done: number; readonly failed: number };
};

export type RenewerOptions = {
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Makes all listeners answer these; resolves when all do. */
  readonly publish: (challenges: readonly PendingChallenge[]) => Promise<void>;
  /** Lets one instance of several order at a time; null: there is one. */
  readonly lock: OrderLock | null;
};

/** Keeps a certificate valid: orders the first one, and renews it. */
export type Renewer = {
  /** Takes other settings. Null: there is nothing to keep. */
  use(settings: AcmeSettings | null): void;
  /** Tries at once what was put off, as far as the CA allows: the operator may have put right what was wrong. */
  hurry(): void;
  /** Null: there is nothing to keep. */
  status(): AcmeStatus | null;
  close(): Promise<void>;
};

/** A clock may be set, and another instance may renew: looked at again after this time at most, in milliseconds. */
const longestPauseMs = 30_000;
/** And not more often than this: a mistake here must not become a burden for the CA. */
const shortestPauseMs = 250;

export function createRenewer({ logger, publish, lock }: RenewerOptions): Renewer {
  const closing = new AbortController();
  const orders = { done: 0, failed: 0 };
  let keeper: Keeper | null = null;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();

  const look = async (): Promise<void> => {
    const current = keeper;
    if (current === null) return;
    let pauseMs = longestPauseMs;
    try {
      pauseMs = await current.look();
    } catch (error) {
      if (!closing.signal.aborted) logger.error({ err: error }, 'the certificate could not be seen to');
    }
    if (current === keeper) schedule(Math.max(pauseMs, shortestPauseMs));
  };
  const schedule = (pauseMs: number): void => {
    clearTimeout(timer);
    if (closing.signal.aborted || keeper === null) return;
    const begin = () => {
      running = running.then(look);
    };
    timer = setTimeout(begin, Math.min(pauseMs, longestPauseMs)).unref();
  };

  return {
    use: (settings) => {
      keeper?.end();
      keeper =
        settings === null
          ? null
          : createKeeper(settings, {
              ...{ logger, publish, lock },
              onOrder: (result) => {
                orders[result] += 1;
              },
              signal: closing.signal,
              now: Date.now,
              random: Math.random,
            });
      schedule(0);
    },
    hurry: () => {
      keeper?.beginAnew();
      schedule(0);
    },
    status: () => (keeper === null ? null : { ...keeper.status(), orders: { ...orders } }),
    close: async () => {
      closing.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
