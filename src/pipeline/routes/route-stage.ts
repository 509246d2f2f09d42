import type { Operation } from '../../registry/operation.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { AuthorizedRequest } from '../authorize/authorize.ts';
import type { Exchange } from '../exchange.ts';

/** Answers what a route's registry cannot answer by outer names; false: it is another request. */
export type AnswerOfRoute = (
  exchange: Exchange,
  request: Authentication & AuthorizedRequest & { readonly operation: Operation },
) => Promise<boolean>;
