import type { LoginNotice } from '../auth/login-throttle.ts';
import type { TokenNotice } from '../auth/v1-tokens.ts';
import type { WriteNotice } from '../cache/shared-memory-store.ts';
import type { Change } from '../cache/store.ts';
import type { Config } from '../config/schema.ts';

/** What one worker lets all others know. */
export type Notice =
  | { readonly topic: 'write'; readonly body: WriteNotice }
  | { readonly topic: 'token'; readonly body: TokenNotice }
  | { readonly topic: 'login'; readonly body: LoginNotice };

/** From the primary process to a worker. */
export type ToWorker =
  /** The first: the worker's part of the configuration, and what it has missed. */
  | {
      readonly kind: 'start';
      readonly config: Config;
      /** Writes that have begun and not ended. */
      readonly underWay: readonly Change[];
      readonly logins: readonly LoginNotice[];
      /** The key of what workers tell each other of right passwords, in base64. */
      readonly loginKey: string;
    }
  /** To be answered with `noted` of the same number. */
  | { readonly kind: 'notice'; readonly number: number; readonly notice: Notice }
  /** What the worker told under this number has been acted on by all others. */
  | { readonly kind: 'told'; readonly number: number }
  /** To be answered with `noted` of the same number, to show that it does not hang. */
  | { readonly kind: 'check'; readonly number: number }
  | { readonly kind: 'stop'; readonly graceMs: number };

/** From a worker to the primary process. */
export type FromWorker =
  /** It listens for messages. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'listening'; readonly address: Address; readonly names: readonly string[] }
  /** It cannot start, for a reason that the operator can mend. */
  | { readonly kind: 'failed'; readonly sentence: string }
  | { readonly kind: 'tell'; readonly number: number; readonly notice: Notice }
  | { readonly kind: 'noted'; readonly number: number };

export type Address = { readonly host: string; readonly port: number };
