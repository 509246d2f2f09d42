import type { PrepareOptions, PreparedState, ServedState } from '../app/served-state.ts';
import type { ProcessReport } from '../telemetry/metrics/metrics.ts';
import type { WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import type { WorkersStatus } from '../admin/server-status.ts';
import type { Address } from './workers/messages.ts';

/** What serves clients: this process, or several. */
export type Serving = {
  readonly address: Address;
  workers(): WorkersStatus;
  /** What the processes that serve clients have counted, those that have ended included; takes a bounded time. */
  reports(): Promise<readonly ProcessReport[]>;
  /** The requests under way, as far as they are known; of use once the end has begun. */
  waiting(): Promise<WaitingRequests>;
  /** @throws OperatorError when the state cannot be served by; nothing has changed then. */
  prepare(state: ServedState, options: PrepareOptions): Promise<PreparedChange>;
  /** Stops accepting, lets requests under way finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** A state that all who serve are ready for. One of the two is to be called. */
export type PreparedChange = Pick<PreparedState, 'changed' | 'abandon'> & {
  /** Resolves when all serve by it. */
  commit(): Promise<void>;
};
