/** What a cleaner tells its keeper: first what to run, and `ping` again and again. `stop` ends the collector. */
export type KeeperMessage = ({ readonly kind: 'run' } & KeeperOrder) | { readonly kind: 'ping' | 'stop' };

/** What a keeper is to run. */
export type KeeperOrder = {
  /** The collector, or its trial; empty: only the restart. */
  readonly command: readonly string[];
  /** Killed after so long. */
  readonly maxMs: number;
  /** What restarts the registry afterwards, whatever became of the collector; empty: nothing does. */
  readonly restart: readonly string[];
};

/** What a keeper tells. */
export type KeeperReport =
  /** The process group of the collector. */
  | { readonly kind: 'started'; readonly pid: number }
  /** Blobs that the collector says it takes. */
  | { readonly kind: 'takes'; readonly digests: readonly string[] }
  /** How many lines it has printed. */
  | { readonly kind: 'lines'; readonly count: number }
  | ({ readonly kind: 'collected' } & Ended)
  /** After each try. */
  | ({ readonly kind: 'restarted' } & Ended);

/** How a program ended. */
export type Ended = {
  /** Null: by a signal, or it could not be started. */
  readonly code: number | null;
  readonly isLate: boolean;
  /** What it said last. */
  readonly lastLines: readonly string[];
};
