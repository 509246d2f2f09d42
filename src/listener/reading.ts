import type { Socket } from 'node:net';

/** Why a connection is not read: too much waits on it, or no stage reads its request's body yet, or any more. */
export type HoldReason = 'waiting' | 'body';

/** Whether a connection is read. */
export type Reading = {
  /** Stops reading, except for bytes that the kernel is already handing over: at most 64 KiB. */
  hold(reason: HoldReason): void;
  /** Resumes reading when no other reason is left. */
  release(reason: HoldReason): void;
};

/** Controls the reading of a connection: Node itself resumes it whenever a request's body is read. */
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
