import type { AnswerCacheOptions } from '../../cache/answer-cache.ts';
import type { Answer } from '../../cache/entry.ts';
import { hasItsDigests } from '../../cache/storable.ts';
import { headerValues } from '../../http/raw-headers.ts';
import { OciError } from '../../registry/error.ts';
import { parseOperation, type Operation } from '../../registry/operation.ts';
import { parseTarget } from '../../registry/target.ts';
import type { BlobStorage } from '../../storage/blob-storage.ts';
import { buildFetchHeaders } from '../../upstream/request.ts';
import { writeWholeHead } from '../serve/cache-response.ts';
import { readContentDigest } from '../serve/content-digest.ts';
import type { EditsFor } from '../response-edits.ts';
import { noRoom, watchRoom, type WholeAnswers } from '../whole-answers.ts';
import { whileClientStays } from '../while-client-stays.ts';
import type { MirrorSource } from './mirror-source.ts';
import type { AnswerOfRoute } from './route-stage.ts';

type Fetch = AnswerCacheOptions['fetch'];

export type MirrorFetchOptions = {
  readonly authorization: string | null;
  readonly source: MirrorSource;
  /** The mirror's files, which say what a tag last named; null: they cannot be read. */
  readonly blobs: Pick<BlobStorage, 'findTag'> | null;
  readonly room: WholeAnswers['room'];
  /** What clients are told the mirror is, as the beginning of a sentence. */
  readonly description: string;
  /** Describes an error of the mirror. */
  readonly describeError: (outerTarget: string, answer: Answer) => OciError;
};

const noOpenPaths: ReadonlySet<string> = new Set();

/**
 * Fetches manifests from a mirror. While its source is silent, what a tag last named is served by its digest, about
 * which the mirror asks nobody. Bytes that do not have the digest that the answer names are refused.
 */
export function createMirrorFetch(options: MirrorFetchOptions): Fetch {
  const { authorization, source, blobs, description, describeError } = options;
  return async (request, limits) => {
    const { rawTarget } = request;
    const operation = parseOperation('GET', parseTarget(rawTarget), noOpenPaths);
    if (operation.kind !== 'manifest') throw new Error('a mirror is asked for manifests only');
    const { repository, tag } = operation;
    const headers = buildFetchHeaders(request, authorization);
    const { room, wasFull } = watchRoom(options.room);
    const within = { ...limits, room };
    const ask = (target: string) => source.ask({ method: 'GET', rawTarget: target, headers }, within);

    let answer = await ask(rawTarget);
    if (answer === 'silent' && tag !== null) {
      const digest = await blobs?.findTag(repository, tag);
      if (digest !== undefined && digest !== null)
        answer = await ask(`/v2/${repository}/manifests/${digest}`);
    }
    if (answer === 'silent') throw source.silent();
    if (answer === null && wasFull()) throw noRoom();
    if (answer === null) return null;
    if (answer.status === 404 && tag !== null) await source.check(repository, headers, limits.signal);
    if (answer.status >= 400) throw describeError(rawTarget, answer);
    if (answer.status < 300 && !isWhatItNames(operation, answer))
      throw new OciError('BAD_GATEWAY', `${description} sent other bytes than those of the digest.`);
    return answer;
  };
}

/**
 * Creates the stage that answers manifests which the cache does not.
 * @param maxBytes the largest manifest, in bytes
 */
export function createMirrorManifestStage({
  fetch,
  maxBytes,
  editsFor,
  wholeAnswers,
  description,
}: {
  readonly fetch: Fetch;
  readonly maxBytes: number;
  readonly editsFor: EditsFor;
  readonly wholeAnswers: WholeAnswers;
  readonly description: string;
}): AnswerOfRoute {
  return async (exchange, { operation, rawTarget }) => {
    if (operation.kind !== 'manifest' || !operation.reads) return false;
    const { req, host, res } = exchange;
    const accept = headerValues(req.rawHeaders, 'accept');
    const answer = await whileClientStays(exchange, (signal) =>
      fetch({ rawTarget, host, accept, isConditional: false, whenGone: () => {} }, { maxBytes, signal }),
    );
    if (res.destroyed) return true;
    if (answer === null)
      throw new OciError('BAD_GATEWAY', `${description} sent a manifest of more than ${maxBytes} bytes.`);
    exchange.manifestDigest = readContentDigest(answer.rawHeaders);
    if (exchange.method !== 'HEAD' && !wholeAnswers.hold(res, answer.body)) throw noRoom();
    wholeAnswers.send(exchange, writeWholeHead(exchange, answer, editsFor(exchange)));
    return true;
  };
}

function isWhatItNames(operation: Extract<Operation, { kind: 'manifest' }>, answer: Answer): boolean {
  const { repository, reference, digest } = operation;
  if (digest === null && headerValues(answer.rawHeaders, 'docker-content-digest').length === 0) return true;
  return hasItsDigests(
    { scope: repository, item: reference, kind: digest === null ? 'tag' : 'digest' },
    answer,
  );
}
