import { randomBytes } from 'node:crypto';
import { askDoor, type Door } from './door.ts';
import { DoorsError, maxLockKeys, type DoorLock, type Doors } from './doors.ts';
import type { DeleteAnswer, DeleteWish, LockAnswer } from './messages.ts';
import type { PresentDoors } from './present-doors.ts';

/** A lock with what its evidence needs. */
export type HeldLock = {
  readonly door: Door;
  readonly id: string;
  readonly lock: DoorLock;
  /** Notes what evidence asked for at `askedMs` says of it. */
  note(held: boolean, askedMs: number): void;
  /** Resolves when it is released, with all that was done under it. */
  readonly released: Promise<void>;
};

export type DoorLocks = {
  readonly lock: Doors['lock'];
  find(lock: DoorLock): HeldLock | undefined;
  /** Resolves when those that are held now are released, with all that was done under them. */
  untilReleased(): Promise<void>;
};

/** How long after evidence a lock is sure: a front door that loses it lets nothing through for longer. */
const sureMs = 500;
const defaultWaitMs = 50;

/** Locks repositories and digests at the first front door: the others hold them through Redis. */
export function createDoorLocks(present: Pick<PresentDoors, 'all' | 'changes'>): DoorLocks {
  const held = new WeakMap<DoorLock, HeldLock>();
  const unreleased = new Set<HeldLock>();
  return {
    find: (lock) => held.get(lock),
    untilReleased: async () => {
      await Promise.all([...unreleased].map(({ released }) => released));
    },
    lock: async (keys, waitMs = defaultWaitMs) => {
      if (keys.length === 0 || keys.length > maxLockKeys)
        throw new DoorsError(`A lock has 1 to ${maxLockKeys} keys, not ${keys.length}.`);
      const [door] = present.all();
      const id = randomBytes(8).toString('hex');
      const { locked } = (await askDoor(door, { kind: 'lock', id, keys, waitMs })) as LockAnswer;
      if (!locked) return null;
      const one = createHeldLock(door, id, () => present.changes());
      held.set(one.lock, one);
      unreleased.add(one);
      void one.released.then(() => unreleased.delete(one));
      return one.lock;
    },
  };
}

/** @param changes how often a front door has come or gone */
function createHeldLock(door: Door, id: string, changes: () => number): HeldLock {
  let isReleased = false;
  let sureUntilMs = -Infinity;
  let sureAtChange = -1;
  let end = () => {};
  const released = new Promise<void>((resolve) => (end = resolve));
  const remove = async (wish: DeleteWish): Promise<number | null> => {
    const answer = (await askDoor(door, { kind: 'delete', lockId: id, ...wish })) as DeleteAnswer;
    return answer.status;
  };
  return {
    ...{ door, id, released },
    note: (held, askedMs) => {
      sureUntilMs = held ? askedMs + sureMs : -Infinity;
      sureAtChange = changes();
    },
    lock: {
      deleteManifest: (repository, digest) => remove({ repository, what: 'manifest', digest }),
      deleteBlob: (repository, digest) => remove({ repository, what: 'blob', digest }),
      isSure: () =>
        !isReleased &&
        !door.peer.closed.aborted &&
        sureAtChange === changes() &&
        performance.now() < sureUntilMs,
      release: async () => {
        if (isReleased) return;
        isReleased = true;
        try {
          // A front door that is gone has released it.
          if (!door.peer.closed.aborted) await askDoor(door, { kind: 'unlock', id });
        } finally {
          end();
        }
      },
    },
  };
}
