import type { PrepareOptions, ServedState } from '../app/served-state.ts';
import { OperatorError } from '../system/operator-error.ts';
import type { FromWorker, ToWorker } from './workers/messages.ts';
import type { PreparedChange } from './serving.ts';

/** A worker as the coordinator sees it. */
export type StateMember = { send(message: ToWorker): void };

type Reply = Extract<FromWorker, { kind: 'prepared' | 'committed' }>;

/** Brings all workers from one state to the next: all prepare, and only when all are prepared do all change. */
export type ReloadCoordinator = {
  /** Adds a worker: `start` is called with the state in effect, when no change is in progress. */
  join(member: StateMember, start: (state: ServedState) => void): void;
  leave(member: StateMember): void;
  heard(member: StateMember, reply: Reply): void;
  /** @throws OperatorError when one of them cannot prepare: then none changes. */
  prepare(state: ServedState, options: PrepareOptions): Promise<PreparedChange>;
};

/** @param initial the state of the first workers */
export function createReloadCoordinator(initial: ServedState): ReloadCoordinator {
  let inEffect = initial;
  const members = new Set<StateMember>();
  const asked = new Map<StateMember, (reply: Reply | null) => void>();
  /** Workers that arrive during a change, which they must not miss. */
  let held: Map<StateMember, () => void> | null = null;

  /** Returns null when the worker ends before it answers. */
  const ask = (member: StateMember, message: ToWorker): Promise<Reply | null> =>
    new Promise((resolve) => {
      asked.set(member, resolve);
      member.send(message);
    });
  const settle = (member: StateMember, reply: Reply | null) => {
    const resolve = asked.get(member);
    asked.delete(member);
    resolve?.(reply);
  };
  const join: ReloadCoordinator['join'] = (member, start) => {
    if (held) {
      held.set(member, () => join(member, start));
      return;
    }
    members.add(member);
    start(inEffect);
  };
  const release = () => {
    const joining = held ?? new Map<StateMember, () => void>();
    held = null;
    for (const joinNow of joining.values()) joinNow();
  };
  const abandon = () => {
    for (const member of members) member.send({ kind: 'abandon' });
    release();
  };

  return {
    join,
    leave: (member) => {
      members.delete(member);
      held?.delete(member);
      settle(member, null);
    },
    heard: settle,
    prepare: async (state, options) => {
      held = new Map();
      const replies = await Promise.all(
        [...members].map((member) => ask(member, { kind: 'prepare', state, ...options })),
      );
      const changed = new Set<string>();
      for (const reply of replies) {
        const refusal =
          reply?.kind === 'prepared'
            ? reply.sentence
            : 'A worker process ended while it prepared the reload.';
        if (refusal !== null) {
          abandon();
          throw new OperatorError(refusal);
        }
        if (reply?.kind === 'prepared') for (const key of reply.changed) changed.add(key);
      }
      return {
        changed: [...changed],
        commit: async () => {
          inEffect = state;
          await Promise.all([...members].map((member) => ask(member, { kind: 'commit' })));
          release();
        },
        abandon: () => {
          abandon();
          return Promise.resolve();
        },
      };
    },
  };
}
