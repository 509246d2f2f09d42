import type { AcmeStatus } from '../acme/renewer.ts';
import type { PemFiles } from '../app/pem-files.ts';
import type { CleanStatusNumbers } from '../clean/channel/messages.ts';
import type { Config } from '../config/schema/schema.ts';

/** The status of a running Tidegate. */
export type ServerStatus = {
  /** What is in effect. */
  readonly config: Config;
  /** `notAfterMs`: when it expires, in milliseconds since 1970. */
  readonly certificate: {
    readonly names: readonly string[];
    readonly notAfterMs: number;
    readonly origin: PemFiles['origin'];
    /** How it fares with the CA; null: it is the operator's own. */
    readonly acme: AcmeStatus | null;
  };
  /** Whether the drain has begun. */
  readonly draining: boolean;
  readonly workers: WorkersStatus;
  readonly clean: CleanState;
};

/** What is known of the cleaner; null: nothing is cleaned up. `told`: as it told last; null: nothing yet. */
export type CleanState = {
  readonly isConnected: boolean;
  readonly told: CleanStatusNumbers | null;
} | null;

/** The status of the serving processes. */
export type WorkersStatus = {
  readonly wanted: number;
  readonly serving: number;
  /** How often a worker has ended unexpectedly. */
  readonly restarts: number;
  /** Whether a worker is in a crash loop. */
  readonly crashLoop: boolean;
};
