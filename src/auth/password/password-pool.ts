import { Worker } from 'node:worker_threads';
import { OciError } from '../../registry/error.ts';
import type { PasswordReply, PasswordRequest } from './password-worker.ts';

/** Checks passwords on threads of its own, so that no hash ever runs on the thread that streams. */
export type PasswordPool = {
  /**
   * @param order isWanted: asked when a thread is free for it, what is not wanted any more is not computed, and gives undefined;
   * isFirst: to be done before all that are not, which make room for it in a full queue
   * @throws OciError UNAVAILABLE when the queue is full, when a thread broke down, or after close
   */
  verify(
    password: string,
    hash: string,
    order?: { isWanted: () => boolean; isFirst: boolean },
  ): Promise<boolean | undefined>;
  /** How many checks wait, and how many are under way. */
  readonly load: { readonly queued: number; readonly running: number };
  /** Ends the threads; checks still under way fail with UNAVAILABLE. */
  close(): Promise<void>;
};

type Job = PasswordRequest & {
  readonly queuedAtMs: number;
  readonly isWanted: () => boolean;
  readonly isFirst: boolean;
  readonly resolve: (matches: boolean | undefined) => void;
  readonly reject: (error: OciError) => void;
};

const maxBackOffMs = 5000;

/**
 * Creates a pool; threads start when they are first needed and never keep the process alive.
 *
 * @param options threads: checks at the same time; maxQueued: checks that may wait besides; onWaited: called when a check begins, with how long it has waited, in milliseconds; onRejected: called for each that was refused because too many waited
 */
export function createPasswordPool(options: {
  threads: number;
  maxQueued: number;
  onWaited?: (waitedMs: number) => void;
  onRejected?: () => void;
}): PasswordPool {
  const workers = new Map<Worker, Job | undefined>();
  const queue: Job[] = [];
  let crashesInARow = 0;
  let mayStartAtMs = 0;
  let closed = false;

  function recordCrash(): void {
    // The first crash is fixed at once, so that the queue survives it; those that follow wait 100, 200, 400 … ms.
    crashesInARow += 1;
    const backOffMs = crashesInARow === 1 ? 0 : Math.min(maxBackOffMs, 100 * 2 ** (crashesInARow - 2));
    mayStartAtMs = performance.now() + backOffMs;
  }

  function start(): Worker | undefined {
    let worker: Worker;
    try {
      worker = new Worker(new URL('./password-worker.js', import.meta.url), { name: 'password' });
    } catch {
      recordCrash(); // no thread or memory to be had
      return undefined;
    }
    workers.set(worker, undefined);
    let failure: unknown = new Error('the password thread ended');
    worker.on('message', (reply: PasswordReply) => {
      const job = workers.get(worker);
      workers.set(worker, undefined);
      crashesInARow = 0;
      if ('matches' in reply) job?.resolve(reply.matches);
      else job?.reject(unavailable(new Error(reply.failure)));
      dispatch();
    });
    worker.on('error', (error) => (failure = error));
    worker.on('exit', () => {
      const job = workers.get(worker);
      workers.delete(worker);
      job?.reject(unavailable(failure));
      if (closed) return;
      recordCrash();
      dispatch();
    });
    worker.unref(); // after the listeners: adding one for messages refs the thread again
    return worker;
  }

  function findOrStartIdle(): Worker | undefined {
    for (const [worker, job] of workers) if (job === undefined) return worker;
    return workers.size < options.threads && performance.now() >= mayStartAtMs ? start() : undefined;
  }

  function dispatch(): void {
    while (queue.length > 0) {
      if (queue[0]?.isWanted() === false) {
        queue.shift()?.resolve(undefined);
        continue;
      }
      const worker = findOrStartIdle();
      if (worker === undefined) break;
      const job = queue.shift();
      if (job === undefined) break;
      workers.set(worker, job);
      options.onWaited?.(performance.now() - job.queuedAtMs);
      worker.postMessage({ password: job.password, hash: job.hash } satisfies PasswordRequest);
    }
    // With no thread alive nobody would ever take the queue up again: fail now instead of hanging.
    if (workers.size === 0) rejectQueue('no password thread could be started');
  }

  function rejectQueue(reason: string): void {
    for (const job of queue.splice(0)) job.reject(unavailable(new Error(reason)));
  }

  return {
    verify(password, hash, order = { isWanted: () => true, isFirst: false }) {
      return new Promise<boolean | undefined>((resolve, reject) => {
        if (closed) {
          reject(unavailable(new Error('the password pool is closed')));
          return;
        }
        const after = order.isFirst ? queue.findIndex(({ isFirst }) => !isFirst) : -1;
        const at = after === -1 ? queue.length : after;
        queue.splice(at, 0, { password, hash, ...order, queuedAtMs: performance.now(), resolve, reject });
        dispatch();
        if (queue.length > options.maxQueued) {
          options.onRejected?.();
          const reason = `${options.maxQueued} password checks are waiting already`;
          queue.pop()?.reject(unavailable(new Error(reason)));
        }
      });
    },
    get load() {
      const running = [...workers.values()].filter((job) => job !== undefined).length;
      return { queued: queue.length, running };
    },
    async close() {
      closed = true;
      rejectQueue('the password pool is closed');
      await Promise.all([...workers.keys()].map((worker) => worker.terminate()));
    },
  };
}

function unavailable(cause: unknown): OciError {
  return new OciError('UNAVAILABLE', 'Passwords cannot be checked right now; try again in a moment.', {
    headers: { 'Retry-After': '1' },
    cause,
  });
}
