import type { Socket } from 'node:net';
import type { Exchange } from '../../pipeline/exchange.ts';
import type { ClientConnection } from '../client-connection.ts';

/** The open TLS connections, and their end: idle ones at once, others after their present request. */
export type OpenConnections = {
  /** Counts a connection until it closes. */
  add(socket: Socket, client: ClientConnection): void;
  get(socket: Socket): ClientConnection | undefined;
  /** Whether no new request begins on any of them. */
  isClosing(): boolean;
  /** Whether a connection ends after its requests in progress. */
  isEnding(socket: Socket): boolean;
  /** Ends an idle connection without a reset, which could destroy an answer in transit. */
  endIdle(socket: Socket): void;
  /** Ends the connections that are open now. */
  endAll(): void;
  /** Ends them, and every later one. */
  close(): void;
  /** The requests in progress on all of them. */
  requests(): readonly Exchange[];
};

/** How long a client may take to close its side of an ended connection, in milliseconds. */
const lingerMs = 1000;

export function createOpenConnections(): OpenConnections {
  const clients = new Map<Socket, ClientConnection>();
  /** Connections that end after their requests in progress. */
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
      // Instead of server.closeIdleConnections(): to Node, a connection before its first request is not idle.
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
        // Node reports a client that has left only to the response being sent.
        process.nextTick(() => {
          for (const { res } of client.underWay) res.destroy().emit('close');
        });
      });
    },
    get: (socket) => clients.get(socket),
    isClosing: () => isClosing,
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
