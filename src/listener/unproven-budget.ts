/** A connection of which nobody knows yet whose it is. */
export type UnprovenConnection = {
  /** Once true, always true. */
  isProven(): boolean;
  /** What has come on it and is held, in bytes, as far as can be seen: the process may need three times as much for it. */
  heldBytes(): number;
  close(): void;
};

/** Bounds what connections without a user hold, all of them together. */
export type UnprovenBudget<Connection> = {
  enter(connection: Connection): void;
  leave(connection: Connection): void;
  /** To be called when more has come on one. */
  readonly noteMore: () => void;
  useLimit(maxBytes: number): void;
  readonly close: () => void;
};

/** So often all are looked at, in milliseconds, and after so much has happened. A look at one costs less than a microsecond, a handshake a thousand times that. */
const lookIntervalMs = 1000;
const lookAfterEvents = 64;

/** The head of an honest client's request, and more than that: who holds no more is never closed for it. */
const sparedBytes = 4096;

/**
 * Creates an empty budget. When it is exceeded, those go that hold the most: who sends what an honest client sends is not among them.
 * @param onOver called for each that is closed
 */
export function createUnprovenBudget<Connection extends UnprovenConnection>(
  maxBytes: number,
  onOver: () => void,
): UnprovenBudget<Connection> {
  let limitBytes = maxBytes;
  let events = 0;
  const inside = new Set<Connection>();

  const look = () => {
    events = 0;
    let sum = 0;
    const holding: { connection: Connection; bytes: number }[] = [];
    for (const connection of inside) {
      if (connection.isProven()) {
        inside.delete(connection);
        continue;
      }
      const bytes = connection.heldBytes();
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
