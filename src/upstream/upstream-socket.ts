import type { Socket } from 'node:net';

export type SocketWatch = {
  readonly connectTimeoutMs: number;
  /** How long the socket may be silent before `onIdle` is called, each time, in milliseconds. */
  readonly readTimeoutMs: number;
  readonly isNew: boolean;
  readonly isSecure: boolean;
  readonly onConnectTimeout: () => void;
  readonly onIdle: () => void;
};

/** Watches for a connection that does not come up, and for silence. Gives what ends the watching. */
export function watchUpstreamSocket(socket: Socket, watch: SocketWatch): () => void {
  const connectTimer = watch.isNew ? setTimeout(watch.onConnectTimeout, watch.connectTimeoutMs) : undefined;
  const connectEvent = watch.isSecure ? 'secureConnect' : 'connect';
  // Taken off at the end: a kept connection is used again and again, and connects only once.
  const connected = () => {
    clearTimeout(connectTimer);
    socket.off(connectEvent, connected);
  };
  socket.on(connectEvent, connected);
  const onTimeout = () => {
    socket.setTimeout(watch.readTimeoutMs);
    watch.onIdle();
  };
  socket.setTimeout(watch.readTimeoutMs);
  socket.on('timeout', onTimeout);
  return () => {
    connected();
    socket.off('timeout', onTimeout);
    socket.setTimeout(0);
  };
}
