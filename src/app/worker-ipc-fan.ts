import type { WorkerIpc } from '../system/worker-ipc.ts';

/** Distributes the messages of other processes to changing subscribers in this process. */
export type WorkerIpcFan<Notice> = {
  join(): WorkerIpc<Notice> & {
    /** Ends the subscription. */
    leave(): void;
  };
};

/** Creates it; earlier messages go to the first subscriber. */
export function createWorkerIpcFan<Notice>(ipc: WorkerIpc<Notice>): WorkerIpcFan<Notice> {
  const listeners = new Map<object, (notice: Notice) => void>();
  let listens = false;
  return {
    join: () => {
      const me = {};
      return {
        publish: (notice) => ipc.publish(notice),
        subscribe: (listener) => {
          listeners.set(me, listener);
          if (listens) return;
          listens = true;
          ipc.subscribe((notice) => {
            for (const each of listeners.values()) each(notice);
          });
        },
        leave: () => listeners.delete(me),
      };
    },
  };
}
