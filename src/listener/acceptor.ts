import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { clientNetwork } from '../http/client-network.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { canonicalAddress, normalizeAddress } from '../http/client-address.ts';
import { createByteBudget } from './limits/byte-budget.ts';
import { createConnectionGate, type GatedConnection, type GateLimits } from './limits/connection-gate.ts';
import { createConnectionWarnings } from './limits/connection-warnings.ts';
import { readProxyHeader } from './proxied-socket.ts';

/** The limits on the number of connections, and on what they hold together, in bytes. */
export type AcceptorLimits = GateLimits & {
  /** For unauthenticated connections. */
  readonly unprovenBytes: number;
  /** For waiting requests on authenticated connections. */
  readonly waitingBytes: number;
};

export type AcceptorOptions = {
  readonly limits: AcceptorLimits & { readonly handshakeTimeoutMs: number };
  /** Whether each connection begins with a PROXY header. */
  readonly proxyProtocol: boolean;
  /** Whether an address is a trusted proxy's. */
  readonly isTrusted: (address: string) => boolean;
  /** Begins TLS on an accepted connection. */
  readonly startTls: (socket: Socket) => void;
  readonly metrics: Pick<Metrics, 'throttled'>;
  readonly logger: Logger;
};

/** An accepted connection. */
export type AcceptedConnection = GatedConnection & {
  /** The TCP peer, or the client named by the PROXY header. */
  peerAddress: string;
  /** The received bytes that it holds: those of the handshake, until the connection itself counts them. */
  heldBytes: () => number;
  /** The waiting part of it: pipelined requests, and bodies not read yet. */
  waitingBytes: () => number;
  /** Whether it waits for its next request. */
  isIdle: () => boolean;
  /** Sends these bytes in clear, bypassing TLS, and ends the TCP connection. */
  readonly endInClear: (bytes: string) => void;
};

/** Decides which TCP connections are served, before anything but a PROXY header is read. */
export type Acceptor = {
  /** Call it with each new TCP connection. */
  accept(socket: Socket): void;
  /** Finds the connection of a TCP or TLS socket; undefined when it is gone. */
  find(socket: Socket): AcceptedConnection | undefined;
  /** Marks it as authenticated; false: its user has too many connections. */
  readonly prove: (connection: AcceptedConnection, user: string) => boolean;
  /** Notes that an unauthenticated connection holds more. */
  readonly noteMore: () => void;
  /** Notes that something begins to wait on an authenticated connection, or nothing waits any more. */
  readonly noteWaiting: (connection: AcceptedConnection, waits: boolean) => void;
  /** Applies to later connections. */
  useLimits(limits: AcceptorLimits): void;
  /** Stops all timers. */
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
    const isUntrustedPeer = proxyProtocol && !isTrusted;
    if (isUntrustedPeer) warn.untrusted(peerAddress);
    const connection = openAccepted(socket, peerAddress, () => proven.has(connection));
    // A connection without an address is already gone.
    if (isUntrustedPeer || peerAddress === '' || !gate.enter(connection)) {
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

/** A new connection, of which only the source is known. */
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

/** Identifies a connection uniquely; a TLS socket takes it from the TCP socket below. */
function nameOf({ remoteAddress = '', remotePort = 0, localAddress = '' }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
