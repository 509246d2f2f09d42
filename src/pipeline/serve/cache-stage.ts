import type { AnswerCache, CacheResult } from '../../cache/answer-cache.ts';
import type { Cacheable } from '../../cache/cacheable.ts';
import { headerValues } from '../../http/raw-headers.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { Exchange } from '../exchange.ts';
import type { EditsFor } from '../response-edits.ts';
import type { UpstreamWarnings } from '../upstream-warnings.ts';
import type { WholeAnswers } from '../whole-answers.ts';
import type { Leases } from '../../leases/leases.ts';
import { noteAnswer } from './lease-notes.ts';
import { readContentDigest } from './content-digest.ts';
import { isShareable, writeWholeHead } from './cache-response.ts';

export type CacheStageOptions = {
  /** Null: every answer is upstream's. */
  readonly cache: AnswerCache | null;
  readonly wholeAnswers: WholeAnswers;
  readonly editsFor: EditsFor;
  readonly warnings: UpstreamWarnings;
  /** What clients are told is there; null: nobody asks. */
  readonly leases: Pick<Leases, 'note'> | null;
};

/** Answers from the cache if allowed; returns false if this request must go to upstream itself. */
export type AnswerFromCache = (
  exchange: Exchange,
  cacheable: Cacheable,
  target: CanonicalTarget,
  authentication: Pick<Authentication, 'keepAuthorization'>,
) => Promise<boolean>;

export function createCacheStage({
  cache,
  wholeAnswers,
  editsFor,
  warnings,
  leases,
}: CacheStageOptions): AnswerFromCache {
  return async (exchange, cacheable, target, { keepAuthorization }) => {
    const { req, res, host } = exchange;
    const shared = cache !== null && !keepAuthorization && isShareable(req);
    const found: CacheResult = shared
      ? await cache.answer(cacheable, {
          rawTarget: target.raw,
          host,
          accept: headerValues(req.rawHeaders, 'accept'),
          isConditional: headerValues(req.rawHeaders, 'if-none-match').length > 0,
          whenGone: (listener) => {
            if (res.destroyed) listener();
            else res.once('close', listener);
          },
        })
      : { kind: 'BYPASS' };
    // Without room the answer is streamed from upstream and not held.
    const hasRoom =
      found.kind === 'BYPASS' || exchange.method === 'HEAD' || wholeAnswers.hold(res, found.answer.body);
    const result: CacheResult = hasRoom ? found : { kind: 'BYPASS' };
    exchange.cache = result.kind;
    exchange.answerHeaders['X-Cache'] = result.kind;
    if (result.kind === 'BYPASS') return false;
    if (res.destroyed) return true;
    exchange.manifestDigest = readContentDigest(result.answer.rawHeaders);
    if (leases !== null && exchange.operation !== null)
      noteAnswer(leases, exchange.operation, result.answer, req.rawHeaders);
    if (result.answer.status === 401) warnings.challenge(exchange);
    const edits = editsFor(exchange);
    wholeAnswers.send(exchange, writeWholeHead(exchange, result.answer, edits));
    return true;
  };
}
