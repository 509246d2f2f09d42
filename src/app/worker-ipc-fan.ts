import type { Peers } from '../system/worker-ipc.ts';

/** Lets several in this process, who come and go, share what other processes tell. */
export type PeerFan<Notice> = {
  join(): Peers<Notice> & {
    /** Hears no more. */
    leave(): void;
  };
};

/** Creates it; what came before goes to the first who listens. */
export function createPeerFan<Notice>(peers: Peers<Notice>): PeerFan<Notice> {
  const listeners = new Map<object, (notice: Notice) => void>();
  let listens = false;
  return {
    join: () => {
      const me = {};
      return {
        tell: (notice) => peers.tell(notice),
        onTold: (listener) => {
          listeners.set(me, listener);
          if (listens) return;
          listens = true;
          peers.onTold((notice) => {
            for (const each of listeners.values()) each(notice);
          });
        },
        leave: () => listeners.delete(me),
      };
    },
  };
}
