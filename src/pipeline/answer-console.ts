import type { Operation } from '../registry/operation.ts';
import type { CanonicalTarget } from '../registry/target.ts';
import type { Authentication } from './authenticate/authenticate.ts';
import type { Exchange } from './exchange.ts';

/**
 * Answers a request for the registry as if its client had been authenticated like this: all that follows does what it
 * does for clients. Never rejects: errors become answers.
 */
export type AnswerAs = (exchange: Exchange, authentication: Authentication) => Promise<void>;

/** Answers a request of a browser; false: it is for the registry. @throws OciError */
export type AnswerConsole = (
  exchange: Exchange,
  request: { readonly operation: Operation; readonly target: CanonicalTarget },
  answerAs: AnswerAs,
) => Promise<boolean>;
