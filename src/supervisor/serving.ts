import type { ChallengeAnswers } from '../acme/challenges.ts';
import type { PrepareOptions, PreparedState, ServedState } from '../app/served-state.ts';
import type { ProcessReport } from '../telemetry/metrics/metrics.ts';
import type { WaitingRequests } from '../telemetry/metrics/waiting-requests.ts';
import type { WorkersStatus } from '../admin/server-status.ts';
import type { ListenAddress } from '../app/app.ts';
import type { CleanParts } from './clean/clean-answers.ts';

/** The processes that serve clients: this one, or several. */
export type Serving = {
  readonly address: ListenAddress;
  workers(): WorkersStatus;
  /** Returns the counts of the serving processes, ended ones included; takes a bounded time. */
  reports(): Promise<readonly ProcessReport[]>;
  /** The requests in progress, as far as known; complete only during the drain. */
  waiting(): Promise<WaitingRequests>;
  /** @throws OperatorError when the state cannot be used; nothing has changed then. */
  prepare(state: ServedState, options: PrepareOptions): Promise<PreparedChange>;
  /** Answers the checks of a CA; resolves when all serving processes do. */
  answerChallenges(challenges: ChallengeAnswers): Promise<void>;
  readonly clean: CleanParts;
  /** Stops accepting, lets requests in progress finish for `graceMs` milliseconds (0: cuts them), and frees everything. */
  close(options: { graceMs: number }): Promise<void>;
};

/** A state that all serving processes have prepared. Call exactly one of commit() and abandon(). */
export type PreparedChange = Pick<PreparedState, 'changed' | 'abandon'> & {
  /** Resolves when all use it. */
  commit(): Promise<void>;
};
