/** An authenticated connection. */
export type UserConnection = {
  /** Whether it waits for its next request. */
  isIdle(): boolean;
  close(): void;
};

/** Limits the connections of each user. */
export type UserConnections<Connection> = {
  /** Counts a connection for a user, and closes the user's oldest idle one when there are too many; false: none is idle. */
  enter(connection: Connection, user: string): boolean;
  leave(connection: Connection): void;
  /**
   * Finds the oldest idle connection of the user with the most connections, among users with an idle one; undefined:
   * none is idle.
   */
  findSpare(): Connection | undefined;
  /** Applies to later connections. */
  useLimit(maxPerUser: number): void;
};

export function createUserConnections<Connection extends UserConnection>(
  maxPerUser: number,
): UserConnections<Connection> {
  let limit = maxPerUser;
  /** Each user's connections in the order of authentication. */
  const users = new Map<string, Set<Connection>>();
  const userOf = new Map<Connection, string>();

  const leave = (connection: Connection): void => {
    const user = userOf.get(connection);
    if (user === undefined) return;
    userOf.delete(connection);
    const own = users.get(user);
    own?.delete(connection);
    if (own?.size === 0) users.delete(user);
  };
  const findIdle = (own: ReadonlySet<Connection>): Connection | undefined => {
    for (const connection of own) if (connection.isIdle()) return connection;
    return undefined;
  };

  return {
    enter: (connection, user) => {
      if (userOf.get(connection) === user) return true;
      const known = users.get(user);
      if (known && known.size >= limit) {
        const spare = findIdle(known);
        if (spare === undefined) return false;
        leave(spare);
        spare.close();
      }
      leave(connection);
      const own = users.get(user) ?? new Set<Connection>();
      users.set(user, own.add(connection));
      userOf.set(connection, user);
      return true;
    },
    leave,
    findSpare: () => {
      let spare: Connection | undefined;
      let most = 0;
      for (const own of users.values()) {
        const idle = own.size > most ? findIdle(own) : undefined;
        if (idle === undefined) continue;
        spare = idle;
        most = own.size;
      }
      return spare;
    },
    useLimit: (next) => {
      limit = next;
    },
  };
}
