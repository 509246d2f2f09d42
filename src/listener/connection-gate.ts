import { createUserConnections } from './user-connections.ts';

/** A connection as the gate sees it. */
export type GatedConnection = {
  /** Whether somebody has shown a right password on it; once true, always true. */
  isProven(): boolean;
  /** Whether it waits for its next request. */
  isIdle(): boolean;
  close(): void;
};

/** How many connections there may be, in all, from one client and of one user. */
export type GateLimits = {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly connectionsPerUser: number;
};

/** Which limit was reached, and who had to make room: the oldest that is not proven, an idle one of the user with the most, or the new one. */
export type GateEvent = {
  readonly limit: 'connections' | 'connectionsPerAddress';
  readonly closed: 'oldest' | 'idle' | 'newest';
};

/** Bounds how many connections there are, in all and from one client. */
export type ConnectionGate<Connection> = {
  /** Takes a connection in; false: there is no room for it. */
  enter(connection: Connection): boolean;
  /** Counts one that is in for its client too; false: the client has too many. It must leave then. */
  assign(connection: Connection, network: string): boolean;
  /** Counts one for a user who has shown a right password on it; false: he or she has too many, and none of them is idle. */
  prove(connection: Connection, user: string): boolean;
  leave(connection: Connection): void;
  /** For the connections from now on. */
  useLimits(limits: GateLimits): void;
};

/** Connections that are counted together. The unproven are in the order of their coming. */
type Group<Connection> = { count: number; readonly unproven: Set<Connection> };

/**
 * Creates an empty gate. When it is full, a new connection takes the place of the oldest that is not proven: so those who open many and say
 * nothing close each other's, and who has a password gets in, as he or she shows it within moments. When all are proven, the user with the most gives up
 * an idle one: so no user shuts out others.
 */
export function createConnectionGate<Connection extends GatedConnection>(options: {
  limits: GateLimits;
  onFull: (event: GateEvent) => void;
}): ConnectionGate<Connection> {
  let { limits } = options;
  const everyone: Group<Connection> = { count: 0, unproven: new Set() };
  const clients = new Map<string, Group<Connection>>();
  const users = createUserConnections<Connection>(limits.connectionsPerUser);
  /** Each connection's client; null as long as it is not known. */
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
      // Making room may have taken the client's last connection, and the client with it.
      const client = clients.get(network) ?? { count: 0, unproven: new Set() };
      clients.set(network, client);
      inside.set(connection, network);
      add(client, connection);
      return true;
    },
    // Behind a proxy that one trusts a connection is not one user's.
    prove: (connection, user) => inside.get(connection) == null || users.enter(connection, user),
    leave,
    useLimits: (next) => {
      limits = next;
      users.useLimit(next.connectionsPerUser);
    },
  };
}
