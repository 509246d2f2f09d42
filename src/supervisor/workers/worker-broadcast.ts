import { LRUCache } from 'lru-cache';
import type { ChallengeAnswers } from '../../acme/challenges.ts';
import type { LoginNotice } from '../../auth/throttle/login-throttle.ts';
import type { CacheWrite } from '../../cache/stores/store.ts';
import { abandonedWriteMs } from '../../cache/stores/store.ts';
import type { Notice, ToWorker } from './messages.ts';

/** A worker as the broadcast sees it. */
export type BroadcastMember = {
  send(message: ToWorker): void;
  /** Called when it has not answered in time: it must be ended, and leave() must follow. */
  giveUp(): void;
};

/** Sends a worker's message to all others, and tells it when all have acted on it. */
export type WorkerBroadcast = {
  /** Adds a worker, which gets everything from now on. Returns the writes that have begun and not ended. */
  join(member: BroadcastMember): readonly CacheWrite[];
  /** The recently proven logins, for a worker that starts. */
  logins(): readonly LoginNotice[];
  /** Removes a worker that is gone: nobody waits for it any more. */
  leave(member: BroadcastMember): void;
  /** Publishes a worker's message; `number` is the worker's own. */
  publish(from: BroadcastMember, number: number, notice: Notice): void;
  /** Sends the answers to a CA's checks to all workers; resolves when all have acted on them. */
  answerChallenges(challenges: ChallengeAnswers): Promise<void>;
  /** Checks that every worker is alive, within the same limit. */
  check(): void;
  /** Notes that a worker has acted on the message with this number. */
  acknowledged(member: BroadcastMember, number: number): void;
};

/** How many proven logins are kept for workers that start, and for how long, in milliseconds. */
const maxLogins = 10_000;
const loginTtlMs = 24 * 60 * 60 * 1000;

/** A published message, and the workers that have not acted on it. */
type PendingBroadcast = { readonly missing: Set<BroadcastMember>; readonly done: () => void };

/** @param options limitMs: how long a worker may take to act; now: a monotonic clock, in milliseconds */
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
    // Reads the sockets once more after the timer: if an answer is there already, this process was late, not the
    // answer.
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
    answerChallenges: (challenges) =>
      new Promise((resolve) => {
        ask(new Set(members), (number) => ({ kind: 'challenges', number, challenges }), resolve);
      }),
    check: () =>
      ask(
        new Set(members),
        (number) => ({ kind: 'check', number }),
        () => {},
      ),
    acknowledged: (member, number) => strike(number, member),
  };
}
