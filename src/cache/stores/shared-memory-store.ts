import type { WorkerIpc } from '../../system/worker-ipc.ts';
import type { CacheStore, CacheWrite } from './store.ts';

/** The beginning or the end of a write through one worker, for the stores of the others. */
export type WriteNotice = { readonly phase: 'begin' | 'end'; readonly change: CacheWrite };

/**
 * Makes the stores of several processes keep their promise as one: each has entries of its own, and a write
 * through one has begun, or ended, only when it has in all.
 */
export function createSharedMemoryStore(store: CacheStore, ipc: WorkerIpc<WriteNotice>): CacheStore {
  ipc.subscribe(({ phase, change }) => {
    // In memory both have happened when they return.
    void (phase === 'begin' ? store.beginWrite(change) : store.endWrite(change));
  });
  return {
    ...store,
    beginWrite: async (change) => {
      const begun = store.beginWrite(change);
      await ipc.publish({ phase: 'begin', change });
      return begun;
    },
    endWrite: async (change) => {
      const ended = store.endWrite(change);
      await ipc.publish({ phase: 'end', change });
      return ended;
    },
  };
}
