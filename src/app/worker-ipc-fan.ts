import type { WorkerIpc } from '../system/worker-ipc.ts';

/** Lets several in this process, who come and go, share what other processes tell. */
export type WorkerIpcFan<Notice> = {
  join(): WorkerIpc<Notice> & {
    /** Hears no more. */
    leave(): void;
  };
};

/** Creates it; what came before goes to the first who listens. */
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
