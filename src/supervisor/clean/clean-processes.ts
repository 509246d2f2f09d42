import { randomBytes } from 'node:crypto';
import type { App } from '../../app/app.ts';
import type { CleanResults, CleanTask, PerformCleanTask } from '../../app/clean-worker.ts';
import type { Evidence } from '../../leases/leases.ts';

type TaskOf<Kind extends CleanTask['kind']> = Extract<CleanTask, { kind: Kind }>;

/** The serving processes, as the clean-up needs them. Each call may reject when a process ends or hangs. */
export type CleanProcesses = {
  /** Has one of them do it. Aborting the signal ends it. */
  readonly perform: PerformCleanTask;
  /** Has all of them do it. */
  performAll<Kind extends CleanTask['kind']>(
    task: TaskOf<Kind>,
    limitMs: number,
  ): Promise<CleanResults[Kind][]>;
  /** Differs from earlier when one has begun or ended since. */
  epoch(): string;
  /** Calls back when another one begins: it knows nothing of what the cleaner told. */
  onJoin(listener: () => void): void;
  /** When the last one ended, whose leases are lost, in milliseconds since the epoch; 0: none has. */
  lostAtMs(): number;
};

/** To a worker: do this, answered with `clean-answer` of the same number; or do it no longer. */
export type CleanRequest =
  | { readonly kind: 'clean-ask'; readonly number: number; readonly task: CleanTask }
  | { readonly kind: 'clean-stop'; readonly number: number };

/** From it. `error`: why there is no result; null: there is one. */
export type CleanReply = {
  readonly kind: 'clean-answer';
  readonly number: number;
  readonly result: CleanResults[CleanTask['kind']] | null;
  readonly error: string | null;
};

/** A worker as this sees it. */
type CleanMember = { send(message: CleanRequest): void };

/** The workers of this instance. */
export type CleanWorkers = CleanProcesses & {
  join(member: CleanMember): void;
  leave(member: CleanMember): void;
  heard(member: CleanMember, reply: CleanReply): void;
};

/** @param now milliseconds since the epoch */
export function createCleanWorkers(now: () => number): CleanWorkers {
  const members = new Set<CleanMember>();
  const asked = new Map<number, { member: CleanMember; settle: (reply: Omit<CleanReply, 'kind'>) => void }>();
  let lastNumber = 0;
  let epoch = newEpoch();
  let lostAtMs = 0;
  let onJoin = () => {};

  const ask = (member: CleanMember, task: CleanTask, signal: AbortSignal) =>
    new Promise<CleanReply['result']>((resolve, reject) => {
      signal.throwIfAborted();
      const number = ++lastNumber;
      const stop = () => {
        member.send({ kind: 'clean-stop', number });
        asked.delete(number);
        reject(signal.reason as Error);
      };
      asked.set(number, {
        member,
        settle: ({ result, error }) => {
          signal.removeEventListener('abort', stop);
          asked.delete(number);
          if (error === null) resolve(result);
          else reject(new Error(error));
        },
      });
      signal.addEventListener('abort', stop, { once: true });
      member.send({ kind: 'clean-ask', number, task });
    });

  return {
    join: (member) => {
      members.add(member);
      epoch = newEpoch();
      onJoin();
    },
    leave: (member) => {
      if (!members.delete(member)) return;
      epoch = newEpoch();
      lostAtMs = now();
      for (const [number, { member: of, settle }] of asked)
        if (of === member) settle({ number, result: null, error: 'the worker process has ended' });
    },
    heard: (member, reply) => {
      const request = asked.get(reply.number);
      if (request?.member === member) request.settle(reply);
    },
    perform: (async (task: CleanTask, signal: AbortSignal) => {
      const [member] = members;
      if (member === undefined) throw new Error('no worker process runs now');
      return ask(member, task, signal);
    }) as PerformCleanTask,
    performAll: async (task, limitMs) => {
      if (members.size === 0) throw new Error('no worker process runs now');
      const signal = AbortSignal.timeout(limitMs);
      const results = await Promise.all([...members].map((member) => ask(member, task, signal)));
      return results as CleanResults[typeof task.kind][];
    },
    epoch: () => epoch,
    onJoin: (listener) => (onJoin = listener),
    lostAtMs: () => lostAtMs,
  };
}

/** One process that serves and does all else. */
export function createCleanProcess(app: Pick<App, 'performCleanTask'>): CleanProcesses {
  const epoch = newEpoch();
  return {
    perform: app.performCleanTask,
    performAll: async (task, limitMs) => [await app.performCleanTask(task, AbortSignal.timeout(limitMs))],
    epoch: () => epoch,
    onJoin: () => {},
    lostAtMs: () => 0,
  };
}

function newEpoch(): string {
  return randomBytes(8).toString('hex');
}

/** What all processes have answered and written: the latest leases, summed counts. Null: nothing is cleaned up. */
export function joinEvidence(parts: readonly (Evidence | null)[]): Evidence | null {
  const known = parts.filter((part) => part !== null);
  const [first] = known;
  if (first === undefined || known.length < parts.length) return null;
  const join = (read: (part: Evidence) => readonly number[], by: (a: number, b: number) => number) =>
    read(first).map((_, i) => known.map((part) => read(part)[i] ?? 0).reduce(by));
  const add = (a: number, b: number) => a + b;
  const later = (a: number, b: number) => Math.max(a, b);
  return {
    epoch: known
      .map(({ epoch }) => epoch)
      .toSorted()
      .join(' '),
    since: Math.max(...known.map(({ since }) => since)),
    leases: join(({ leases }) => leases, later),
    writes: join(({ writes }) => writes, add),
    digestWrites: join(({ digestWrites }) => digestWrites, add),
  };
}
