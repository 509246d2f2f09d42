import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import type { ProcessReport } from '../observability/metrics.ts';
import type { Address } from './messages.ts';

/** A running front door, of one process or of several. */
export type FrontDoor = {
  readonly address: Address;
  /** The names in its certificate. */
  readonly names: readonly string[];
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** What is so now with the front door as a whole. */
export type FrontDoorStatus = {
  /** It ends, and takes nothing new. */
  readonly draining: boolean;
  readonly workers: {
    readonly wanted: number;
    readonly serving: number;
    /** How many have ended and been started anew. */
    readonly restarts: number;
    /** Whether one ends again and again. */
    readonly crashLoop: boolean;
  };
};

/** A front door that can be asked how it is. */
export type ServingDoor = FrontDoor & {
  status(): FrontDoorStatus;
  /** What the processes that serve clients have counted, those that have ended included; takes a bounded time. */
  reports(): Promise<readonly ProcessReport[]>;
};

/**
 * Opens the front door in this process, or for more than one worker in processes of their own, and what looks after it.
 * @throws OperatorError when a certificate, a file or the address is not as it must be.
 */
export async function openFrontDoor(options: { config: Config; logger: Logger }): Promise<FrontDoor> {
  const door = await openDoor(options);
  const { admin, alerts } = options.config;
  if (admin.port === null && alerts.webhook === null && alerts.smtp.url === null) return door;
  try {
    const { openWatch } = await import('./watch.ts');
    const watch = await openWatch({ ...options, door });
    return {
      ...door,
      close: async (closing) => {
        await door.close(closing);
        watch.close(); // it says that nobody should come here for as long as transfers end
      },
    };
  } catch (error) {
    await door.close({ graceMs: 0 });
    throw error;
  }
}

async function openDoor(options: { config: Config; logger: Logger }): Promise<ServingDoor> {
  // Loaded when needed: the process that only looks after workers has no use for what serves clients.
  if (options.config.workers > 1) {
    const { openWorkers } = await import('./primary.ts');
    return openWorkers(options);
  }
  const { createApp } = await import('../app.ts');
  const app = await createApp(options);
  let draining = false;
  return {
    ...app,
    close: (closing) => {
      draining = true;
      return app.close(closing);
    },
    status: () => ({
      draining,
      workers: { wanted: 1, serving: draining ? 0 : 1, restarts: 0, crashLoop: false },
    }),
    reports: async () => [await app.report()],
  };
}
