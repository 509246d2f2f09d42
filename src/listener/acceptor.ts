import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { clientNetwork } from '../http/client-network.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { canonicalAddress, normalizeAddress } from '../http/client-address.ts';
import { createByteBudget } from './byte-budget.ts';
import {
  createConnectionGate,
  type GateEvent,
  type GatedConnection,
  type GateLimits,
} from './connection-gate.ts';
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
  const warnOfFull = createFullWarning(logger);
  const gate = createConnectionGate<AcceptedConnection>({
    limits,
    onFull: (event) => {
      metrics.throttled('connections');
      warnOfFull(event);
    },
  });
  const proven = new WeakSet<AcceptedConnection>();
  const overLimit = (key: 'unprovenBytes' | 'waitingBytes') => {
    const warn = everyMinute((limit: string) =>
      logger.warn({ limit }, `${limit} is reached: ${overSentence[key]}`),
    );
    return () => {
      metrics.throttled('connections');
      warn(`limits.${key}`);
    };
  };
  const unproven = createByteBudget<AcceptedConnection>({
    maxBytes: limits.unprovenBytes,
    heldBytes: (connection) => connection.heldBytes(),
    onOver: overLimit('unprovenBytes'),
  });
  const waiting = createByteBudget<AcceptedConnection>({
    maxBytes: limits.waitingBytes,
    heldBytes: (connection) => connection.waitingBytes(),
    onOver: overLimit('waitingBytes'),
  });
  const warnOfStranger = everyMinute((client: string) =>
    logger.warn({ client }, 'connections refused: their address is not in listen.trustedProxies'),
  );

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
    if (isStranger) warnOfStranger(peerAddress);
    const connection: AcceptedConnection = {
      peerAddress,
      isProven: () => proven.has(connection),
      heldBytes: () => socket.bytesRead,
      waitingBytes: () => 0,
      isIdle: () => false,
      close: () => socket.destroy(),
      endInClear: (bytes) => socket.end(bytes),
    };
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

/** What no two connections have in common at one time; a TLS socket has it from the TCP socket below. */
function nameOf({ remoteAddress = '', remotePort = 0, localAddress = '' }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

const overSentence = {
  unprovenBytes:
    'of the connections on which nobody has shown a right password, those that hold the most are closed',
  waitingBytes:
    'of the connections with requests that wait, those on which the most waits are closed; no client of a registry sends requests before it has the answer to the last',
} as const;

const fullSentence: Readonly<Record<GateEvent['closed'], string>> = {
  oldest: 'for each new connection the oldest is closed on which nobody has shown a right password',
  idle: 'for each new connection an idle one is closed, of the user who has the most of them',
  newest: 'new connections are closed',
};

function createFullWarning(logger: Logger): (event: GateEvent) => void {
  const warn = (event: GateEvent) =>
    logger.warn(
      { limit: `limits.${event.limit}` },
      `limits.${event.limit} is reached, or a part of it that one worker has: ${fullSentence[event.closed]}`,
    );
  const warnings = {
    connections: { oldest: everyMinute(warn), idle: everyMinute(warn), newest: everyMinute(warn) },
    connectionsPerAddress: { oldest: everyMinute(warn), idle: everyMinute(warn), newest: everyMinute(warn) },
  };
  return (event) => warnings[event.limit][event.closed](event);
}

function everyMinute<Argument>(act: (argument: Argument) => void): (argument: Argument) => void {
  let quietUntilMs = 0;
  return (argument) => {
    if (Date.now() < quietUntilMs) return;
    quietUntilMs = Date.now() + 60_000;
    act(argument);
  };
}
