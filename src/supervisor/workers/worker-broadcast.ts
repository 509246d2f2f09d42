import { LRUCache } from 'lru-cache';
import type { LoginNotice } from '../../auth/throttle/login-throttle.ts';
import type { CacheWrite } from '../../cache/stores/store.ts';
import { abandonedWriteMs } from '../../cache/stores/store.ts';
import type { Notice, ToWorker } from './messages.ts';

/** A worker as the broadcast sees it. */
export type BroadcastMember = {
  send(message: ToWorker): void;
  /** Called when it has not answered in time: it must end, and leave() must follow. */
  giveUp(): void;
};

/** Passes on what one worker tells to all others, and lets it know when all have acted on it. */
export type WorkerBroadcast = {
  /** Takes in a worker, which is told everything from now on. Gives the writes that have begun and not ended. */
  join(member: BroadcastMember): readonly CacheWrite[];
  /** What was proven lately, for a worker that starts. */
  logins(): readonly LoginNotice[];
  /** A worker is gone: nobody waits for it any more. */
  leave(member: BroadcastMember): void;
  /** A worker publishes something; `number` is its own for it. */
  publish(from: BroadcastMember, number: number, notice: Notice): void;
  /** Asks every worker for a sign of life, within the same limit. */
  check(): void;
  /** A worker has acted on what was sent to it under this number. */
  acknowledged(member: BroadcastMember, number: number): void;
};

/** How many users' proofs are kept for workers that start, and for how long, in milliseconds. */
const maxLogins = 10_000;
const loginTtlMs = 24 * 60 * 60 * 1000;

/** What a worker published, and who has yet to act on it. */
type PendingBroadcast = { readonly missing: Set<BroadcastMember>; readonly done: () => void };

/** @param options limitMs: how long a worker may take to act; now: a clock that only goes forward, in milliseconds */
export function createWorkerBroadcast(options: { limitMs: number; now: () => number }): WorkerBroadcast {
  const { limitMs, now } = options;
  const members = new Set<BroadcastMember>();
  const pending = new Map<number, PendingBroadcast>();
  const underWay = new Map<string, { change: CacheWrite; givenUpAtMs: number }>();
  const logins = new LRUCache<string, LoginNotice>({ max: maxLogins, ttl: loginTtlMs });
  let lastNumber = 0;

  const strike = (number: number, member: BroadcastMember): void => {
    const round = pending.get(number);
    if (!round?.missing.delete(member) || round.missing.size > 0) return;
    pending.delete(number);
    round.done();
  };

  const ask = (
    missing: Set<BroadcastMember>,
    toMessage: (number: number) => ToWorker,
    done: () => void,
  ): void => {
    if (missing.size === 0) {
      done();
      return;
    }
    const number = ++lastNumber;
    // After the timer one more look at the sockets: an answer that is there already was not late, this process was.
    const late = setTimeout(() => {
      setImmediate(() => {
        for (const member of missing) member.giveUp();
      });
    }, limitMs).unref();
    pending.set(number, {
      missing,
      done: () => {
        clearTimeout(late);
        done();
      },
    });
    for (const member of missing) member.send(toMessage(number));
  };

  const note = ({ topic, body }: Notice): void => {
    if (topic === 'login' && body.kind === 'proven') logins.set(body.nameKey, body);
    if (topic !== 'write') return;
    const { phase, change } = body;
    if (phase === 'begin') underWay.set(change.id, { change, givenUpAtMs: now() + abandonedWriteMs });
    else underWay.delete(change.id);
  };

  return {
    join: (member) => {
      members.add(member);
      for (const [id, { givenUpAtMs }] of underWay) if (now() >= givenUpAtMs) underWay.delete(id);
      return [...underWay.values()].map(({ change }) => change);
    },
    logins: () => [...logins.values()],
    leave: (member) => {
      members.delete(member);
      for (const number of [...pending.keys()]) strike(number, member);
    },
    publish: (from, toldNumber, notice) => {
      note(notice);
      const missing = new Set(members);
      missing.delete(from);
      const done = () => from.send({ kind: 'delivered', number: toldNumber });
      ask(missing, (number) => ({ kind: 'notice', number, notice }), done);
    },
    check: () =>
      ask(
        new Set(members),
        (number) => ({ kind: 'check', number }),
        () => {},
      ),
    acknowledged: (member, number) => strike(number, member),
  };
}
