import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { clientNetwork } from '../http/client-network.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { canonicalAddress, normalizeAddress } from '../http/client-address.ts';
import { createByteBudget } from './byte-budget.ts';
import { createConnectionGate, type GatedConnection, type GateLimits } from './connection-gate.ts';
import { createConnectionWarnings } from './connection-warnings.ts';
import { readProxyHeader } from './proxied-socket.ts';

/** How many connections there may be, and what they may hold together, in bytes. */
export type AcceptorLimits = GateLimits & {
  /** Those on which nobody has shown a right password. */
  readonly unprovenBytes: number;
  /** The others, of requests that wait. */
  readonly waitingBytes: number;
};

export type AcceptorOptions = {
  readonly limits: AcceptorLimits & { readonly handshakeTimeoutMs: number };
  /** Whether each connection begins with a PROXY header. */
  readonly proxyProtocol: boolean;
  /** Whether an address is a proxy's that may say who its clients are. */
  readonly isTrusted: (address: string) => boolean;
  /** Begins TLS on a connection that was let in. */
  readonly startTls: (socket: Socket) => void;
  readonly metrics: Pick<Metrics, 'throttled'>;
  readonly logger: Logger;
};

/** A connection that was let in. */
export type AcceptedConnection = GatedConnection & {
  /** The TCP peer, or the client that the PROXY header names. */
  peerAddress: string;
  /** What has come on it and is held, in bytes: the handshake, as long as nobody else says. */
  heldBytes: () => number;
  /** What of it waits: requests behind another, and bodies that nobody reads yet. */
  waitingBytes: () => number;
  /** Whether it waits for its next request. */
  isIdle: () => boolean;
  /** Sends these bytes past TLS, in clear, and ends the TCP connection. */
  readonly endInClear: (bytes: string) => void;
};

/** Decides which TCP connections are served, before anything is read but a PROXY header. */
export type Acceptor = {
  /** To be called with each new TCP connection. */
  accept(socket: Socket): void;
  /** The connection that a socket is for, the TCP one or the TLS one over it; undefined when it is gone. */
  find(socket: Socket): AcceptedConnection | undefined;
  /** Somebody has shown a right password on it; false: that one has too many connections. */
  readonly prove: (connection: AcceptedConnection, user: string) => boolean;
  /** More has come on one on which nobody has. */
  readonly noteMore: () => void;
  /** Something begins to wait on one on which somebody has, or nothing does any more. */
  readonly noteWaiting: (connection: AcceptedConnection, waits: boolean) => void;
  /** For the connections from now on. */
  useLimits(limits: AcceptorLimits): void;
  /** Looks after nothing any more. */
  close(): void;
};

export function createAcceptor(options: AcceptorOptions): Acceptor {
  const { limits, proxyProtocol, startTls, metrics, logger } = options;
  const accepted = new Map<string, AcceptedConnection>();
  const proven = new WeakSet<AcceptedConnection>();
  const warn = createConnectionWarnings(logger, metrics);
  const gate = createConnectionGate<AcceptedConnection>({ limits, onFull: warn.full });
  const unproven = createByteBudget<AcceptedConnection>({
    maxBytes: limits.unprovenBytes,
    heldBytes: (connection) => connection.heldBytes(),
    onOver: () => warn.over('unprovenBytes'),
  });
  const waiting = createByteBudget<AcceptedConnection>({
    maxBytes: limits.waitingBytes,
    heldBytes: (connection) => connection.waitingBytes(),
    onOver: () => warn.over('waitingBytes'),
  });

  const begin = (socket: Socket, connection: AcceptedConnection, network: string | null) => {
    if (network === null || gate.assign(connection, network)) startTls(socket);
    else socket.destroy();
  };

  const beginProxied = (socket: Socket, connection: AcceptedConnection) => {
    readProxyHeader(socket, limits.handshakeTimeoutMs, (header) => {
      if (header === null) {
        logger.debug({ client: connection.peerAddress }, 'a connection without a valid PROXY header');
        socket.on('error', () => {}).destroy();
        return;
      }
      const { source } = header;
      if (source !== null) connection.peerAddress = canonicalAddress(source);
      begin(socket, connection, source === null ? null : clientNetwork(source));
    });
  };

  const accept = (socket: Socket) => {
    const peerAddress = normalizeAddress(socket.remoteAddress ?? '');
    const isTrusted = options.isTrusted(peerAddress);
    const isStranger = proxyProtocol && !isTrusted;
    if (isStranger) warn.untrusted(peerAddress);
    const connection = openAccepted(socket, peerAddress, () => proven.has(connection));
    // Without an address it is gone already.
    if (isStranger || peerAddress === '' || !gate.enter(connection)) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    accepted.set(name, connection);
    unproven.enter(connection);
    socket.once('close', () => {
      gate.leave(connection);
      unproven.leave(connection);
      waiting.leave(connection);
      if (accepted.get(name) === connection) accepted.delete(name);
    });
    if (proxyProtocol) beginProxied(socket, connection);
    else begin(socket, connection, isTrusted ? null : clientNetwork(peerAddress));
  };

  return {
    accept,
    find: (socket) => accepted.get(nameOf(socket)),
    prove: (connection, user) => {
      if (!gate.prove(connection, user)) {
        metrics.throttled('connections');
        return false;
      }
      proven.add(connection);
      unproven.leave(connection);
      return true;
    },
    noteMore: unproven.noteMore,
    noteWaiting: (connection, waits) => {
      if (waits) waiting.enter(connection);
      else waiting.leave(connection);
    },
    useLimits: (next) => {
      gate.useLimits(next);
      unproven.useLimit(next.unprovenBytes);
      waiting.useLimit(next.waitingBytes);
    },
    close: () => {
      unproven.close();
      waiting.close();
    },
  };
}

/** A connection of which nothing is known yet but where it comes from. */
function openAccepted(socket: Socket, peerAddress: string, isProven: () => boolean): AcceptedConnection {
  return {
    peerAddress,
    isProven,
    heldBytes: () => socket.bytesRead,
    waitingBytes: () => 0,
    isIdle: () => false,
    close: () => socket.destroy(),
    endInClear: (bytes) => socket.end(bytes),
  };
}

/** What no two connections have in common at one time; a TLS socket has it from the TCP socket below. */
function nameOf({ remoteAddress = '', remotePort = 0, localAddress = '' }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
