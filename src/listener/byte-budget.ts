/** Bounds what some connections hold, all of them together. */
export type ByteBudget<Connection> = {
  /** Counts a connection from now on; one that is in already stays. */
  enter(connection: Connection): void;
  leave(connection: Connection): void;
  /** Call it when more has come on one. */
  readonly noteMore: () => void;
  useLimit(maxBytes: number): void;
  readonly close: () => void;
};

export type ByteBudgetOptions<Connection> = {
  readonly maxBytes: number;
  /** What one holds, in bytes, as far as can be seen: the process may need three times as much for it. */
  readonly heldBytes: (connection: Connection) => number;
  /** Called for each that is closed, before that. */
  readonly onOver: () => void;
};

/** So often all are looked at, in milliseconds, and after so much has happened. A look at one costs less than a microsecond, a handshake a thousand times that. */
const lookIntervalMs = 1000;
const lookAfterEvents = 64;

/** The head of an honest client's request, and more than that: who holds no more is never closed for it. */
const sparedBytes = 4096;

/** Creates an empty budget. When it is exceeded, those go that hold the most: who sends what an honest client sends is not among them. */
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
