import type { ChallengeAnswers } from '../../acme/challenges.ts';
import type { ListenAddress } from '../../app/app.ts';
import type { PrepareOptions, ServedState } from '../../app/served-state.ts';
import type { LoginNotice } from '../../auth/throttle/login-throttle.ts';
import type { V1TokenNotice } from '../../auth/tokens/v1-tokens.ts';
import type { WriteNotice } from '../../cache/stores/shared-memory-store.ts';
import type { CacheWrite } from '../../cache/stores/store.ts';
import type { ProcessReport } from '../../telemetry/metrics/metrics.ts';
import type { WaitingRequests } from '../../telemetry/metrics/waiting-requests.ts';
import type { UsageBatch } from '../../usage/usage-buffer.ts';
import type { CleanReply, CleanRequest } from '../clean/clean-processes.ts';
import type { InventoryAnswer, InventoryAsk } from '../inventory-channel.ts';
import type { LockAnswer, LockLoss, LockRequest } from '../lock-server.ts';

/** A message of one worker to all others. */
export type Notice =
  | { readonly topic: 'write'; readonly body: WriteNotice }
  | { readonly topic: 'token'; readonly body: V1TokenNotice }
  | { readonly topic: 'login'; readonly body: LoginNotice };

/** From the primary process to a worker. */
export type ToWorker =
  /** The first message: the worker's part of the state, and what it has missed. */
  | {
      readonly kind: 'start';
      readonly state: ServedState;
      /** Writes that have begun and not ended. */
      readonly underWay: readonly CacheWrite[];
      readonly logins: readonly LoginNotice[];
      /** The key under which workers share right passwords, in base64. */
      readonly loginKey: string;
      /** The secret of what is sealed for clients, in base64. */
      readonly sessionSecret: string;
      readonly challenges: ChallengeAnswers;
    }
  /** Answered with `prepared`; `commit` or `abandon` follows. */
  | ({ readonly kind: 'prepare'; readonly state: ServedState } & PrepareOptions)
  /** Answered with `committed`. */
  | { readonly kind: 'commit' }
  | { readonly kind: 'abandon' }
  /** Answered with `acknowledged` of the same number. */
  | { readonly kind: 'notice'; readonly number: number; readonly notice: Notice }
  /** All others have acted on what the worker published under this number. */
  | { readonly kind: 'delivered'; readonly number: number }
  /** Answered with `acknowledged` of the same number: checks of a CA are answered so from then on. */
  | { readonly kind: 'challenges'; readonly number: number; readonly challenges: ChallengeAnswers }
  /** Answered with `acknowledged` of the same number, to show that the worker does not hang. */
  | { readonly kind: 'check'; readonly number: number }
  /** Answered with `report`. */
  | { readonly kind: 'report' }
  | { readonly kind: 'stop'; readonly graceMs: number }
  | LockAnswer
  | LockLoss
  | CleanRequest
  | InventoryAnswer
  /** The worker may send its next `usage`. */
  | { readonly kind: 'usage-taken' }
  /** Lets nothing new through to a repository, until the `thaw` of the same id; answered with `quiet`. */
  | { readonly kind: 'freeze'; readonly id: string; readonly repository: string }
  | { readonly kind: 'thaw'; readonly id: string; readonly repository: string };

/** From a worker to the primary process. */
export type FromWorker =
  /** The worker listens for messages. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'listening'; readonly address: ListenAddress }
  /** The worker cannot start, for a reason that the operator can fix. */
  | { readonly kind: 'failed'; readonly sentence: string }
  /** `sentence`: why it cannot serve with that state; null: it can. `changed`: see PreparedState. */
  | { readonly kind: 'prepared'; readonly sentence: string | null; readonly changed: readonly string[] }
  | { readonly kind: 'committed' }
  /** Sent repeatedly during the drain. */
  | { readonly kind: 'waiting'; readonly waiting: WaitingRequests }
  | { readonly kind: 'publish'; readonly number: number; readonly notice: Notice }
  | { readonly kind: 'acknowledged'; readonly number: number }
  /** The worker's counts, requested with `report`. */
  | { readonly kind: 'report'; readonly report: ProcessReport }
  /** Nothing is in progress in the repository that was frozen under this id. */
  | { readonly kind: 'quiet'; readonly id: string }
  /** What was pulled and pushed; answered with `usage-taken`. */
  | { readonly kind: 'usage'; readonly batch: UsageBatch }
  | CleanReply
  | InventoryAsk
  | LockRequest;
