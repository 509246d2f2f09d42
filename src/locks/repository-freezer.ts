import { unsettledMs } from './repository-locks.ts';

/** A process that serves: it lets nothing new through to a repository, and says when nothing is under way there any more. */
export type FreezeMember = {
  freeze(repository: string, id: string): void;
  thaw(repository: string, id: string): void;
};

/** One try to have a repository for oneself. */
export type Freeze = {
  /** Resolves when nothing is under way in it in any process; never rejects, and may never resolve. */
  readonly quiet: Promise<void>;
  /** Aborted when it is not sure any more that it is frozen everywhere; null: that cannot happen. */
  readonly lost: AbortSignal | null;
  /** Everything goes on. */
  thaw(): void;
};

export type Freezer = {
  /** @param holdMs how long the caller waits for it to be quiet before it gives up */
  freeze(repository: string, holdMs: number): Freeze;
};

/** Freezes repositories in all processes of this instance. */
export type MemberFreezer = Freezer & {
  /** Takes in a process that does not serve yet, and tells it what is frozen. */
  join(member: FreezeMember): void;
  /** A process is gone. What it had under way may be so still for a while. */
  leave(member: FreezeMember): void;
  /** Nothing is under way in a process for the freeze of this id. */
  quiet(member: FreezeMember, id: string): void;
};

type Attempt = {
  readonly repository: string;
  /** Who has yet to say that nothing is under way. */
  readonly missing: Set<FreezeMember>;
  readonly done: () => void;
};

export function createFreezer(): MemberFreezer {
  const members = new Set<FreezeMember>();
  /** Those that are gone, and of whose last requests nobody knows whether upstream is through with them. */
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
