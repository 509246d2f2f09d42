import type { WorkerIpc } from '../../system/worker-ipc.ts';
import type { CacheStore, CacheWrite } from './store.ts';

/** The beginning or end of a write through one worker, sent to the other workers' stores. */
export type WriteNotice = { readonly phase: 'begin' | 'end'; readonly change: CacheWrite };

/**
 * Makes the stores of several processes act as one. Each has its own entries; a write through one has begun, or ended,
 * only when it has in all.
 */
export function createSharedMemoryStore(store: CacheStore, ipc: WorkerIpc<WriteNotice>): CacheStore {
  ipc.subscribe(({ phase, change }) => {
    // In a memory store both are done when the calls return.
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
