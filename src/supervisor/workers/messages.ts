import type { PrepareOptions, ServedState } from '../../app/served-state.ts';
import type { LoginNotice } from '../../auth/throttle/login-throttle.ts';
import type { V1TokenNotice } from '../../auth/tokens/v1-tokens.ts';
import type { WriteNotice } from '../../cache/stores/shared-memory-store.ts';
import type { CacheWrite } from '../../cache/stores/store.ts';
import type { ProcessReport } from '../../telemetry/metrics/metrics.ts';
import type { WaitingRequests } from '../../telemetry/metrics/waiting-requests.ts';
import type { LockAnswer, LockLoss, LockRequest } from '../lock-server.ts';

/** What one worker lets all others know. */
export type Notice =
  | { readonly topic: 'write'; readonly body: WriteNotice }
  | { readonly topic: 'token'; readonly body: V1TokenNotice }
  | { readonly topic: 'login'; readonly body: LoginNotice };

/** From the primary process to a worker. */
export type ToWorker =
  /** The first: the worker's part of what is served by, and what it has missed. */
  | {
      readonly kind: 'start';
      readonly state: ServedState;
      /** Writes that have begun and not ended. */
      readonly underWay: readonly CacheWrite[];
      readonly logins: readonly LoginNotice[];
      /** The key of what workers tell each other of right passwords, in base64. */
      readonly loginKey: string;
      /** The key of what is sealed for clients, in base64. */
      readonly sessionSecret: string;
    }
  /** To be answered with `prepared`; `commit` or `abandon` follows. */
  | ({ readonly kind: 'prepare'; readonly state: ServedState } & PrepareOptions)
  /** To be answered with `committed`. */
  | { readonly kind: 'commit' }
  | { readonly kind: 'abandon' }
  /** To be answered with `acknowledged` of the same number. */
  | { readonly kind: 'notice'; readonly number: number; readonly notice: Notice }
  /** What the worker published under this number has been acted on by all others. */
  | { readonly kind: 'delivered'; readonly number: number }
  /** To be answered with `acknowledged` of the same number, to show that it does not hang. */
  | { readonly kind: 'check'; readonly number: number }
  /** To be answered with `report`. */
  | { readonly kind: 'report' }
  | { readonly kind: 'stop'; readonly graceMs: number }
  | LockAnswer
  | LockLoss
  /** Nothing new may be let through to a repository, until the `thaw` of the same id; to be answered with `quiet`. */
  | { readonly kind: 'freeze'; readonly id: string; readonly repository: string }
  | { readonly kind: 'thaw'; readonly id: string; readonly repository: string };

/** From a worker to the primary process. */
export type FromWorker =
  /** It listens for messages. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'listening'; readonly address: Address }
  /** It cannot start, for a reason that the operator can fix. */
  | { readonly kind: 'failed'; readonly sentence: string }
  /** `sentence`: why it cannot serve by that state; null: it can. `changed`: see PreparedState. */
  | { readonly kind: 'prepared'; readonly sentence: string | null; readonly changed: readonly string[] }
  | { readonly kind: 'committed' }
  /** Once the end has begun, again and again. */
  | { readonly kind: 'waiting'; readonly waiting: WaitingRequests }
  | { readonly kind: 'publish'; readonly number: number; readonly notice: Notice }
  | { readonly kind: 'acknowledged'; readonly number: number }
  /** What it has counted, asked for with `report`. */
  | { readonly kind: 'report'; readonly report: ProcessReport }
  /** Nothing is under way in the repository that was frozen under this id. */
  | { readonly kind: 'quiet'; readonly id: string }
  | LockRequest;

export type Address = { readonly host: string; readonly port: number };
