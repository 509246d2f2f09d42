import type { Socket } from 'node:net';

export type SocketTimeouts = {
  readonly connectTimeoutMs: number;
  /** The silence of the socket after which `onIdle` is called, each time, in milliseconds. */
  readonly readTimeoutMs: number;
  readonly isNew: boolean;
  readonly isSecure: boolean;
  readonly onConnectTimeout: () => void;
  readonly onIdle: () => void;
};

/** Limits connecting, and silence. Returns a function that removes both limits. */
export function setSocketTimeouts(socket: Socket, timeouts: SocketTimeouts): () => void {
  const connectTimer = timeouts.isNew
    ? setTimeout(timeouts.onConnectTimeout, timeouts.connectTimeoutMs)
    : undefined;
  const connectEvent = timeouts.isSecure ? 'secureConnect' : 'connect';
  // Removed at the end: a kept connection is reused, and connects only once.
  const connected = () => {
    clearTimeout(connectTimer);
    socket.off(connectEvent, connected);
  };
  socket.on(connectEvent, connected);
  const onTimeout = () => {
    socket.setTimeout(timeouts.readTimeoutMs);
    timeouts.onIdle();
  };
  socket.setTimeout(timeouts.readTimeoutMs);
  socket.on('timeout', onTimeout);
  return () => {
    connected();
    socket.off('timeout', onTimeout);
    socket.setTimeout(0);
  };
}
