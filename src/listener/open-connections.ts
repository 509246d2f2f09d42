import type { Socket } from 'node:net';
import type { Exchange } from '../pipeline/exchange.ts';
import type { ClientConnection } from './client-connection.ts';

/** The TLS connections that are open, and how they end: idle ones at once, all others after their present request. */
export type OpenConnections = {
  /** Counts one until it closes. */
  add(socket: Socket, client: ClientConnection): void;
  get(socket: Socket): ClientConnection | undefined;
  /** Whether nothing new is begun on any of them. */
  readonly isClosing: boolean;
  /** Whether a connection ends with the requests under way on it. */
  isEnding(socket: Socket): boolean;
  /** Ends a connection on which nothing is under way, in good order and not by a reset, which could take an answer with it. */
  endIdle(socket: Socket): void;
  /** Ends those that are open now. */
  endAll(): void;
  /** Ends them, and each that is still to come. */
  close(): void;
  /** The requests under way on all of them. */
  requests(): readonly Exchange[];
};

/** How long a client may take to close a connection that was ended towards it, in milliseconds. */
const lingerMs = 1000;

export function createOpenConnections(): OpenConnections {
  const clients = new Map<Socket, ClientConnection>();
  /** Those that end with the requests under way on them. */
  const ending = new Set<Socket>();
  let isClosing = false;

  const endIdle = (socket: Socket) => {
    ending.add(socket);
    socket.end();
    setTimeout(() => socket.destroy(), lingerMs).unref();
  };
  const endAll = () => {
    for (const [socket, { underWay }] of clients) {
      ending.add(socket);
      // Not server.closeIdleConnections(): a connection whose first request has not come yet is not idle to Node.
      if (underWay.size === 0) endIdle(socket);
      for (const { res } of underWay) if (!res.headersSent) res.shouldKeepAlive = false;
    }
  };

  return {
    add: (socket, client) => {
      clients.set(socket, client);
      socket.once('close', () => {
        clients.delete(socket);
        ending.delete(socket);
        // Node tells only the response whose turn it is that its client has left.
        process.nextTick(() => {
          for (const { res } of client.underWay) res.destroy().emit('close');
        });
      });
    },
    get: (socket) => clients.get(socket),
    get isClosing() {
      return isClosing;
    },
    isEnding: (socket) => isClosing || (ending.size > 0 && ending.has(socket)),
    endIdle,
    endAll,
    close: () => {
      isClosing = true;
      endAll();
    },
    requests: () => [...clients.values()].flatMap(({ underWay }) => [...underWay]),
  };
}
