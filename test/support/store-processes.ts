import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CacheStore, CacheWrite, StoreLimits } from '../../src/cache/stores/store.ts';
import type { FromWorker, ToWorker } from '../../src/supervisor/workers/messages.ts';
import {
  createWorkerBroadcast,
  type BroadcastMember,
} from '../../src/supervisor/workers/worker-broadcast.ts';

type Method = keyof CacheStore | 'pass';

/** The safeguard to leave out, to see that the test then fails. */
export type Omission = 'telling' | 'acting before it says so';

export type FromParent =
  | {
      readonly kind: 'open';
      readonly limits: StoreLimits;
      readonly omission: Omission | null;
      readonly underWay: readonly CacheWrite[];
    }
  | { readonly kind: 'call'; readonly id: number; readonly method: Method; readonly args: unknown[] }
  | Extract<ToWorker, { kind: 'notice' | 'delivered' }>;

export type FromStore =
  | { readonly kind: 'opened' }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | Extract<FromWorker, { kind: 'publish' | 'acknowledged' }>;

/** Memory stores in separate processes, joined by the workers' broadcast. */
export type StoreProcesses = {
  /** Each stands for the one process that has its number at the time; one that has none knows nothing and keeps nothing. */
  readonly stores: readonly CacheStore[];
  pass(ms: number): Promise<void>;
  /** Ends a process with SIGKILL; resolves when it is gone. */
  kill(index: number): Promise<void>;
  /** Suspends a process until resume. */
  pause(index: number): void;
  resume(index: number): void;
  /** Starts a new process in place of an ended one. */
  start(index: number): Promise<void>;
  close(): Promise<void>;
};

type Running = {
  readonly child: ChildProcess;
  readonly calls: Map<number, (value: unknown) => void>;
  readonly gone: Promise<unknown>;
};

export async function startStoreProcesses({
  count,
  limits,
  limitMs = 60_000,
  omission = null,
}: {
  count: number;
  limits: StoreLimits;
  limitMs?: number;
  omission?: Omission | null;
}): Promise<StoreProcesses> {
  const relay = createWorkerBroadcast({ limitMs, now: () => performance.now() });
  const running: (Running | undefined)[] = [];
  let lastId = 0;

  const start = async (index: number): Promise<void> => {
    const child = fork(fileURLToPath(new URL('./store-process.js', import.meta.url)), {
      serialization: 'advanced',
    });
    const calls = new Map<number, (value: unknown) => void>();
    const tell = (message: FromParent) => {
      if (child.connected) child.send(message, () => {});
    };
    const member: BroadcastMember = {
      send: (message) => {
        if (message.kind === 'notice' || message.kind === 'delivered') tell(message);
      },
      giveUp: () => void child.kill('SIGKILL'),
    };
    const gone = once(child, 'exit').then(() => {
      relay.leave(member);
      if (running[index]?.child === child) running[index] = undefined;
      for (const resolve of calls.values()) resolve(undefined);
    });
    const opened = new Promise<void>((resolve) => {
      child.on('message', (message: FromStore) => {
        if (message.kind === 'opened') resolve();
        else if (message.kind === 'publish') relay.publish(member, message.number, message.notice);
        else if (message.kind === 'acknowledged') relay.acknowledged(member, message.number);
        else {
          calls.get(message.id)?.(message.value);
          calls.delete(message.id);
        }
      });
    });
    tell({ kind: 'open', limits, omission, underWay: relay.join(member) });
    // Ready or killed, before it was, by the relay's limit.
    await Promise.race([opened, gone]);
    if (child.exitCode === null && child.signalCode === null) running[index] = { child, calls, gone };
  };

  const call = async (index: number, method: Method, ...args: unknown[]): Promise<unknown> => {
    const process = running[index];
    if (!process) return undefined;
    const id = ++lastId;
    return new Promise((resolve) => {
      process.calls.set(id, resolve);
      process.child.send({ kind: 'call', id, method, args } satisfies FromParent, () => {});
    });
  };
  const storeOf = (index: number): CacheStore => ({
    lookup: async (slot) =>
      ((await call(index, 'lookup', slot)) as Awaited<ReturnType<CacheStore['lookup']>> | undefined) ?? {
        kind: 'unavailable',
      },
    fill: async (...args) =>
      ((await call(index, 'fill', ...args)) as Awaited<ReturnType<CacheStore['fill']>> | undefined) ?? {
        stored: false,
        evicted: 0,
      },
    beginWrite: async (change) => (await call(index, 'beginWrite', change)) === true,
    endWrite: async (change) => (await call(index, 'endWrite', change)) === true,
    clear: (ttlMs) => void call(index, 'clear', ttlMs),
    stats: async () =>
      ((await call(index, 'stats')) as Awaited<ReturnType<CacheStore['stats']>> | undefined) ?? null,
    isUsable: () => true,
    close: () => Promise.resolve(),
  });

  const indices = Array.from({ length: count }, (_, i) => i);
  await Promise.all(indices.map(start));
  return {
    stores: indices.map(storeOf),
    pass: async (ms) => {
      await Promise.all(indices.map((index) => call(index, 'pass', ms)));
    },
    kill: async (index) => {
      running[index]?.child.kill('SIGKILL');
      await running[index]?.gone;
    },
    pause: (index) => void running[index]?.child.kill('SIGSTOP'),
    resume: (index) => void running[index]?.child.kill('SIGCONT'),
    start,
    close: async () => {
      const all = running.filter((process) => process !== undefined);
      for (const { child } of all) child.kill('SIGKILL');
      await Promise.all(all.map(({ gone }) => gone));
    },
  };
}
