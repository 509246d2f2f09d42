import type { DoorLock, Doors, MergedEvidence } from '../../src/clean/channel/doors.ts';

/*
 * The front doors as a cleaner sees them, with something else in between: what a client does at a bad moment, or what they would say
 * without one of the guards.
 */

/** On a slow machine a lock is often not had in time. */
const maxTries = 100;

/** Does something right before the first lock of a key, which is then had: otherwise the run would read anew what was done. */
export function beforeLock(doors: Doors, key: string, act: () => Promise<unknown>): Doors {
  let isDone = false;
  return {
    ...doors,
    lock: async (keys, waitMs) => {
      if (!keys.includes(key) || isDone) return doors.lock(keys, waitMs);
      isDone = true;
      await act();
      for (let tries = 1; ; tries += 1) {
        const lock = await doors.lock(keys, waitMs);
        if (lock !== null || tries === maxTries) return lock;
      }
    },
  };
}

/** Does something right before the first manifest is deleted in a repository, under the lock. */
export function beforeDelete(doors: Doors, repository: string, act: () => Promise<unknown>): Doors {
  let isDone = false;
  const originals = new Map<DoorLock, DoorLock>();
  const alter = (lock: DoorLock): DoorLock => ({
    ...lock,
    deleteManifest: async (name, digest) => {
      if (name === repository && !isDone) {
        isDone = true;
        await act();
      }
      return lock.deleteManifest(name, digest);
    },
  });
  return {
    ...doors,
    lock: async (keys, waitMs) => {
      const lock = await doors.lock(keys, waitMs);
      if (lock === null) return null;
      const altered = alter(lock);
      originals.set(altered, lock);
      return altered;
    },
    evidence: ({ lock, ...question }) =>
      doors.evidence({ ...question, ...(lock && { lock: originals.get(lock) }) }),
  };
}

/** Calls back when a lock of a key is not had. */
export function whenBusy(doors: Doors, key: string, act: () => void): Doors {
  return {
    ...doors,
    lock: async (keys, waitMs) => {
      const lock = await doors.lock(keys, waitMs);
      if (lock === null && keys.includes(key)) act();
      return lock;
    },
  };
}

/** The front doors with other evidence, as if they had begun long ago. */
export function tellOther(
  doors: Doors,
  change: (evidence: MergedEvidence) => Partial<MergedEvidence> = () => ({}),
): Doors {
  return {
    ...doors,
    check: async () => ({ ...(await doors.check()), leasesSince: 0 }),
    evidence: async (question) => {
      const evidence = await doors.evidence(question);
      return { ...evidence, leasesSince: 0, ...change(evidence) };
    },
  };
}

/** As if nobody ever wrote or was answered anything. */
export const tellNothing = (doors: Doors): Doors =>
  tellOther(doors, ({ leases, writes, digestWrites }) => ({
    leases: leases.map(() => 0),
    writes: writes.map(() => 1),
    digestWrites: digestWrites.map(() => 1),
  }));
