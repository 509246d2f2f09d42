import { Worker } from 'node:worker_threads';
import { OciError } from '../../registry/error.ts';
import type { PasswordReply, PasswordRequest } from './password-worker.ts';

/** Checks passwords on its own threads, so that no hash runs on the thread that streams. */
export type PasswordPool = {
  /**
   * Returns whether the password matches; undefined when the check was no longer wanted.
   * @throws OciError UNAVAILABLE when the queue is full, when a thread crashed, or after close
   */
  verify(password: string, hash: string, order?: CheckOrder): Promise<boolean | undefined>;
  /**
   * Hashes a new password with bcrypt, in the queue of the checks.
   * @throws OciError UNAVAILABLE as {@link verify}
   */
  hash(password: string, cost: number): Promise<string>;
  /** How many checks wait, and how many run. */
  load(): { readonly queued: number; readonly running: number };
  /** Ends the threads; running checks fail with UNAVAILABLE. */
  close(): Promise<void>;
};

type CheckOrder = {
  /** Called when a thread is free: a check that is no longer wanted is skipped. */
  readonly isWanted: () => boolean;
  /** Precedes all checks that are not first; in a full queue it displaces the last of those. */
  readonly isFirst: boolean;
};

type PasswordPoolOptions = {
  /** How many checks run at the same time. */
  threads: number;
  /** How many more may wait. */
  maxQueued: number;
  /** Called when a check begins, with how long it has waited, in milliseconds. */
  onWaited?: (waitedMs: number) => void;
  /** Called for each check that was refused because too many waited. */
  onRejected?: () => void;
};

type Job = CheckOrder & {
  readonly request: PasswordRequest;
  readonly queuedAtMs: number;
  readonly resolve: (result: boolean | string | undefined) => void;
  readonly reject: (error: OciError) => void;
};

const anyOrder: CheckOrder = { isWanted: () => true, isFirst: false };

const maxBackOffMs = 5000;

/** Creates a pool; threads start when they are first needed and never keep the process alive. */
export function createPasswordPool(options: PasswordPoolOptions): PasswordPool {
  const queue: Job[] = [];
  const threads = createThreads(options.threads, dispatch);
  let isClosed = false;

  function dispatch(): void {
    for (let job = queue[0]; job !== undefined; job = queue[0]) {
      if (!job.isWanted()) job.resolve(undefined);
      else if (threads.run(job)) options.onWaited?.(performance.now() - job.queuedAtMs);
      else break;
      queue.shift();
    }
    // Without a living thread the queue would never continue: fail now instead of hanging.
    if (threads.count() === 0) rejectAll(queue, 'no password thread could be started');
  }

  function perform(request: PasswordRequest, order: CheckOrder): Promise<boolean | string | undefined> {
    return new Promise((resolve, reject) => {
      if (isClosed) reject(unavailable('the password pool is closed'));
      else enqueue({ request, ...order, queuedAtMs: performance.now(), resolve, reject });
    });
  }

  function enqueue(job: Job): void {
    insert(queue, job);
    dispatch();
    if (queue.length <= options.maxQueued) return;
    options.onRejected?.();
    queue.pop()?.reject(unavailable(`${options.maxQueued} password checks are waiting already`));
  }

  return {
    verify: async (password, hash, order = anyOrder) => {
      const result = await perform({ password, hash }, order);
      return result === undefined ? undefined : result === true;
    },
    hash: async (password, cost) => String(await perform({ password, cost }, anyOrder)),
    load: () => ({ queued: queue.length, running: threads.countRunning() }),
    async close() {
      isClosed = true;
      rejectAll(queue, 'the password pool is closed');
      await threads.end();
    },
  };
}

/** Puts a job behind all others, or, when it is first, behind the last that is first too. */
function insert(queue: Job[], job: Job): void {
  const after = job.isFirst ? queue.findIndex(({ isFirst }) => !isFirst) : -1;
  queue.splice(after === -1 ? queue.length : after, 0, job);
}

function rejectAll(queue: Job[], reason: string): void {
  for (const job of queue.splice(0)) job.reject(unavailable(reason));
}

/** The threads of a pool, each with the job that it runs. */
type Threads = {
  /** Runs a job on an idle thread or a new one; false: there is none now. */
  run(job: Job): boolean;
  count(): number;
  countRunning(): number;
  end(): Promise<void>;
};

/** @param onChange called when a thread has become idle or has ended */
function createThreads(max: number, onChange: () => void): Threads {
  const workers = new Map<Worker, Job | undefined>();
  const backOff = createBackOff();
  let isEnding = false;

  const start = (): Worker | undefined => {
    let worker: Worker;
    try {
      worker = new Worker(new URL('./password-worker.js', import.meta.url), { name: 'password' });
    } catch {
      backOff.crashed(); // no thread or memory available
      return undefined;
    }
    workers.set(worker, undefined);
    let failure: unknown = new Error('the password thread ended');
    worker.on('message', (reply: PasswordReply) => {
      const job = workers.get(worker);
      workers.set(worker, undefined);
      backOff.worked();
      if ('result' in reply) job?.resolve(reply.result);
      else job?.reject(unavailable(reply.failure));
      onChange();
    });
    worker.on('error', (error) => (failure = error));
    worker.on('exit', () => {
      const job = workers.get(worker);
      workers.delete(worker);
      job?.reject(unavailable(failure));
      if (isEnding) return;
      backOff.crashed();
      onChange();
    });
    worker.unref(); // after the listeners: adding one for messages refs the thread again
    return worker;
  };
  const findOrStartIdle = (): Worker | undefined => {
    for (const [worker, job] of workers) if (job === undefined) return worker;
    return workers.size < max && backOff.isOver() ? start() : undefined;
  };

  return {
    run: (job) => {
      const worker = findOrStartIdle();
      if (worker === undefined) return false;
      workers.set(worker, job);
      worker.postMessage(job.request);
      return true;
    },
    count: () => workers.size,
    countRunning: () => [...workers.values()].filter((job) => job !== undefined).length,
    end: async () => {
      isEnding = true;
      await Promise.all([...workers.keys()].map((worker) => worker.terminate()));
    },
  };
}

/** How long no thread is started after crashes. */
type BackOff = { crashed(): void; worked(): void; isOver(): boolean };

function createBackOff(): BackOff {
  let crashesInARow = 0;
  let untilMs = 0;
  return {
    crashed: () => {
      // After the first crash a thread starts at once, so that the queue survives; after further ones in 100, 200, 400
      // … ms.
      crashesInARow += 1;
      const waitMs = crashesInARow === 1 ? 0 : Math.min(maxBackOffMs, 100 * 2 ** (crashesInARow - 2));
      untilMs = performance.now() + waitMs;
    },
    worked: () => {
      crashesInARow = 0;
    },
    isOver: () => performance.now() >= untilMs,
  };
}

/** @param cause what happened, or a sentence about it */
function unavailable(cause: unknown): OciError {
  return new OciError('UNAVAILABLE', 'Passwords cannot be checked right now; try again in a moment.', {
    headers: { 'Retry-After': '1' },
    cause: typeof cause === 'string' ? new Error(cause) : cause,
  });
}
