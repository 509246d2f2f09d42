import type { Socket } from 'node:net';

/** Why nothing more is read from a connection: too much waits on it, or nobody wants its request's body yet, or any more. */
export type HoldReason = 'waiting' | 'body';

/** Whether a connection is read. */
export type Reading = {
  /** Nothing more is read from now on, but for what is on its way from the kernel already: at most 64 KiB. */
  hold(reason: HoldReason): void;
  /** It is read again when no other reason is left. */
  release(reason: HoldReason): void;
};

/** Takes control of a connection's reading: Node itself begins it anew whenever somebody reads a request's body. */
export function controlReading(socket: Socket): Reading {
  const reasons = new Set<HoldReason>();
  socket.on('resume', () => {
    if (reasons.size > 0) socket.pause();
  });
  return {
    hold: (reason) => {
      reasons.add(reason);
      socket.pause();
    },
    release: (reason) => {
      if (reasons.delete(reason) && reasons.size === 0 && !socket.destroyed) socket.resume();
    },
  };
}
