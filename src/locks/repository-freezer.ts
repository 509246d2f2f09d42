import { unsettledMs } from './repository-locks.ts';

/** A serving process: lets nothing new through to a repository, and reports when nothing is in progress there. */
export type FreezeMember = {
  freeze(repository: string, id: string): void;
  thaw(repository: string, id: string): void;
};

/** One try to freeze a repository. */
export type Freeze = {
  /** Resolves when nothing is in progress there in any process; never rejects, and may never resolve. */
  readonly quiet: Promise<void>;
  /** Aborted when it may no longer be frozen everywhere; null: that cannot happen. */
  readonly lost: AbortSignal | null;
  /** Ends the freeze. */
  thaw(): void;
};

export type Freezer = {
  /** @param holdMs how long the caller waits for quiet before it gives up */
  freeze(repository: string, holdMs: number): Freeze;
};

/** Freezes repositories in all processes of this instance. */
export type MemberFreezer = Freezer & {
  /** Adds a process that does not serve yet, and tells it what is frozen. */
  join(member: FreezeMember): void;
  /** Removes a process that is gone. Its requests may be in progress at upstream for a while. */
  leave(member: FreezeMember): void;
  /** Notes that nothing is in progress in a process for the freeze of this id. */
  quiet(member: FreezeMember, id: string): void;
};

type Attempt = {
  readonly repository: string;
  /** Members that have not reported quiet. */
  readonly missing: Set<FreezeMember>;
  readonly done: () => void;
};

export function createFreezer(): MemberFreezer {
  const members = new Set<FreezeMember>();
  /** Members that are gone, whose last requests upstream may not have finished. */
  const lost = new Set<FreezeMember>();
  const attempts = new Map<string, Attempt>();
  let lastId = 0;

  const strike = (member: FreezeMember, { missing, done }: Attempt) => {
    if (missing.delete(member) && missing.size === 0) done();
  };

  return {
    join: (member) => {
      members.add(member);
      for (const [id, { repository }] of attempts) member.freeze(repository, id);
    },
    leave: (member) => {
      if (!members.delete(member)) return;
      lost.add(member);
      setTimeout(() => {
        lost.delete(member);
        for (const attempt of attempts.values()) strike(member, attempt);
      }, unsettledMs).unref();
    },
    quiet: (member, id) => {
      const attempt = attempts.get(id);
      if (attempt) strike(member, attempt);
    },
    freeze: (repository) => {
      const id = String(++lastId);
      const { promise, resolve } = deferred();
      attempts.set(id, { repository, missing: new Set([...members, ...lost]), done: resolve });
      if (members.size + lost.size === 0) resolve();
      for (const member of members) member.freeze(repository, id);
      return {
        quiet: promise,
        lost: null,
        thaw: () => {
          if (!attempts.delete(id)) return;
          for (const member of members) member.thaw(repository, id);
        },
      };
    },
  };
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
