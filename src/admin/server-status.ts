import type { Config } from '../config/schema/schema.ts';

/** How a running front door is doing. */
export type ServerStatus = {
  /** What is in effect. */
  readonly config: Config;
  /** `notAfterMs`: when it ends, in milliseconds since 1970. */
  readonly certificate: { readonly names: readonly string[]; readonly notAfterMs: number };
  /** Whether the end has begun. */
  readonly draining: boolean;
  readonly workers: WorkersStatus;
};

/** How the processes that serve are doing. */
export type WorkersStatus = {
  readonly wanted: number;
  readonly serving: number;
  /** How often one has ended that should not have. */
  readonly restarts: number;
  /** Whether one ends again and again, soon after it was started. */
  readonly crashLoop: boolean;
};
