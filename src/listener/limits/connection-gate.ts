import { createUserConnections } from './user-connections.ts';

/** A connection as the gate sees it. */
export type GatedConnection = {
  /** Whether it is authenticated; never reset. */
  isProven(): boolean;
  /** Whether it waits for its next request. */
  isIdle(): boolean;
  close(): void;
};

/** The limits on connections: in all, per client and per user. */
export type GateLimits = {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly connectionsPerUser: number;
};

/**
 * The limit that was reached, and the connection that was closed: the oldest unauthenticated one, an idle one of the
 * user with the most, or the new one.
 */
export type GateEvent = {
  readonly limit: 'connections' | 'connectionsPerAddress';
  readonly closed: 'oldest' | 'idle' | 'newest';
};

/** Limits the number of connections, in all and per client. */
export type ConnectionGate<Connection> = {
  /** Adds a connection; false: there is no room for it. */
  enter(connection: Connection): boolean;
  /** Also counts it for its client; false: the client has too many, and it must leave. */
  assign(connection: Connection, network: string): boolean;
  /** Counts an authenticated one for its user; false: the user has too many, and none is idle. */
  prove(connection: Connection, user: string): boolean;
  leave(connection: Connection): void;
  /** Applies to later connections. */
  useLimits(limits: GateLimits): void;
};

/** Connections that are counted together. The unauthenticated are in order of arrival. */
type Group<Connection> = { count: number; readonly unproven: Set<Connection> };

/**
 * Creates an empty gate. When it is full, a new connection replaces the oldest unauthenticated one. So those who open
 * many and stay silent close each other's; a user gets in, since a client shows its password within moments. When all
 * are authenticated, the user with the most gives up an idle one: so no user locks out others.
 */
export function createConnectionGate<Connection extends GatedConnection>(options: {
  limits: GateLimits;
  onFull: (event: GateEvent) => void;
}): ConnectionGate<Connection> {
  let { limits } = options;
  const everyone: Group<Connection> = { count: 0, unproven: new Set() };
  const clients = new Map<string, Group<Connection>>();
  const users = createUserConnections<Connection>(limits.connectionsPerUser);
  /** Each connection's client; null while unknown. */
  const inside = new Map<Connection, string | null>();

  const findOldest = ({ unproven }: Group<Connection>): Connection | undefined => {
    for (const connection of unproven) {
      if (!connection.isProven()) return connection;
      unproven.delete(connection);
    }
    return undefined;
  };

  const makeRoom = (group: Group<Connection>, limit: GateEvent['limit']): boolean => {
    if (group.count < limits[limit]) return true;
    const oldest = findOldest(group);
    const leaving = oldest ?? (group === everyone ? users.findSpare() : undefined);
    options.onFull({ limit, closed: oldest ? 'oldest' : leaving ? 'idle' : 'newest' });
    if (!leaving) return false;
    leave(leaving);
    leaving.close();
    return true;
  };

  const add = (group: Group<Connection>, connection: Connection): void => {
    group.count += 1;
    group.unproven.add(connection);
  };
  const remove = (group: Group<Connection>, connection: Connection): void => {
    group.count -= 1;
    group.unproven.delete(connection);
  };

  const leave = (connection: Connection): void => {
    const network = inside.get(connection);
    if (network === undefined) return;
    inside.delete(connection);
    users.leave(connection);
    remove(everyone, connection);
    const client = network === null ? undefined : clients.get(network);
    if (network === null || !client) return;
    remove(client, connection);
    if (client.count === 0) clients.delete(network);
  };

  return {
    enter: (connection) => {
      if (!makeRoom(everyone, 'connections')) return false;
      inside.set(connection, null);
      add(everyone, connection);
      return true;
    },
    assign: (connection, network) => {
      const known = clients.get(network);
      if (known && !makeRoom(known, 'connectionsPerAddress')) return false;
      // Making room may have removed the client's last connection, and the client with it.
      const client = clients.get(network) ?? { count: 0, unproven: new Set() };
      clients.set(network, client);
      inside.set(connection, network);
      add(client, connection);
      return true;
    },
    // A connection of a trusted proxy does not belong to one user.
    prove: (connection, user) => inside.get(connection) == null || users.enter(connection, user),
    leave,
    useLimits: (next) => {
      limits = next;
      users.useLimit(next.connectionsPerUser);
    },
  };
}
