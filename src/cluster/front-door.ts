import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';
import type { Address } from './messages.ts';

/** A running front door, of one process or of several. */
export type FrontDoor = {
  readonly address: Address;
  /** The names in its certificate. */
  readonly names: readonly string[];
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/**
 * Opens the front door in this process, or for more than one worker in processes of their own.
 * @throws OperatorError when a certificate, a file or the address is not as it must be.
 */
export async function openFrontDoor(options: { config: Config; logger: Logger }): Promise<FrontDoor> {
  // Loaded when needed: the process that only looks after workers has no use for what serves clients.
  if (options.config.workers === 1) {
    const { createApp } = await import('../app.ts');
    return createApp(options);
  }
  const { openWorkers } = await import('./primary.ts');
  return openWorkers(options);
}
