/** Limits what some connections hold together. */
export type ByteBudget<Connection> = {
  /** Adds a connection; one that was added already stays. */
  enter(connection: Connection): void;
  leave(connection: Connection): void;
  /** Call it when a connection has received more. */
  readonly noteMore: () => void;
  useLimit(maxBytes: number): void;
  readonly close: () => void;
};

export type ByteBudgetOptions<Connection> = {
  readonly maxBytes: number;
  /** What a connection holds, in bytes, as far as known: the process may need three times as much memory for it. */
  readonly heldBytes: (connection: Connection) => number;
  /** Called before each is closed. */
  readonly onOver: () => void;
};

/**
 * How often all are added up: in milliseconds, and in events. Adding one takes less than a microsecond, a handshake a
 * thousand times that.
 */
const lookIntervalMs = 1000;
const lookAfterEvents = 64;

/** More than the head of an honest client's request: a connection that holds no more is never closed for it. */
const sparedBytes = 4096;

/**
 * Creates an empty budget. When it is exceeded, the connections that hold the most are closed. An honest client's is
 * not among them.
 */
export function createByteBudget<Connection extends { close(): void }>({
  maxBytes,
  heldBytes,
  onOver,
}: ByteBudgetOptions<Connection>): ByteBudget<Connection> {
  let limitBytes = maxBytes;
  let events = 0;
  const inside = new Set<Connection>();

  const look = () => {
    events = 0;
    let sum = 0;
    const holding: { connection: Connection; bytes: number }[] = [];
    for (const connection of inside) {
      const bytes = heldBytes(connection);
      sum += bytes;
      if (bytes > sparedBytes) holding.push({ connection, bytes });
    }
    if (sum <= limitBytes) return;
    holding.sort((a, b) => b.bytes - a.bytes);
    for (const { connection, bytes } of holding) {
      if (sum <= limitBytes) return;
      sum -= bytes;
      inside.delete(connection);
      onOver();
      connection.close();
    }
  };
  const noteMore = () => {
    events += 1;
    if (events >= lookAfterEvents) look();
  };
  const timer = setInterval(look, lookIntervalMs).unref();

  return {
    enter: (connection) => {
      inside.add(connection);
      noteMore();
    },
    leave: (connection) => inside.delete(connection),
    noteMore,
    useLimit: (next) => {
      limitBytes = next;
    },
    close: () => clearInterval(timer),
  };
}
