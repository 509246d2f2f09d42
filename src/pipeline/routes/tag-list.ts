import { OciError } from '../../registry/error.ts';
import { readJsonObject } from '../../registry/lists/catalog.ts';
import type { UpstreamError } from '../../upstream/forward.ts';
import type { Fetched, RequestUpstream } from '../../upstream/request.ts';
import { writeWholeHead } from '../serve/cache-response.ts';
import type { UpstreamHeaders } from '../serve/request-for-upstream.ts';
import type { MirrorSource } from './mirror-source.ts';
import type { AnswerOfRoute } from './route-stage.ts';
import { noRoom, watchRoom, type WholeAnswers } from '../whole-answers.ts';
import { whileClientStays } from '../while-client-stays.ts';
import type { EditsFor } from '../response-edits.ts';

export type TagListOptions = {
  readonly requestUpstream: RequestUpstream;
  readonly upstreamHeaders: UpstreamHeaders;
  readonly editsFor: EditsFor;
  readonly wholeAnswers: WholeAnswers;
  /** The largest list, in bytes. */
  readonly maxBytes: number;
  /** Null: the registry is no mirror. */
  readonly source: MirrorSource | null;
  /** Describes an error of the registry. */
  readonly describeError: (outerTarget: string, answer: UpstreamError) => OciError;
};

/** Fields with which a client requests something other than the whole, plain answer. */
const shaping = /^(?:accept-encoding|range|if-.*)$/i;
/** Fields that are about the body as the registry wrote it. */
const ofBody = /^(?:etag|content-md5|digest|content-digest|repr-digest)$/i;

/** Creates the stage that puts the outer name into lists of tags (distribution-spec, "Listing Tags"). */
export function createTagListStage(options: TagListOptions): AnswerOfRoute {
  const { requestUpstream, upstreamHeaders, editsFor, wholeAnswers, maxBytes } = options;
  const { source, describeError } = options;
  return async (exchange, request) => {
    const { operation, rawTarget } = request;
    if (operation.kind !== 'tag-list' || !operation.reads) return false;
    const fields = Object.entries(upstreamHeaders(exchange, request));
    const headers = Object.fromEntries(fields.filter(([name]) => !shaping.test(name)));
    const asked = {
      method: 'GET',
      rawTarget,
      headers: { ...headers, 'Accept-Encoding': 'identity' },
    } as const;
    const { room, wasFull } = watchRoom(wholeAnswers.room);
    const answer = await whileClientStays(exchange, async (signal) => {
      const limits = { maxBytes, signal, room };
      if (source === null) return requestUpstream(asked, limits);
      const found = await source.ask(asked, limits);
      if (found === 'silent') throw source.silent();
      if (found?.status === 404) await source.check(operation.repository, asked.headers, signal);
      return found;
    });
    if (exchange.res.destroyed) return true;
    if (answer === null)
      throw wasFull() ? noRoom() : unreadable('it is longer than limits.tagListBytes allows');
    if (answer.status >= 400) throw describeError(rawTarget, answer);
    if (answer.status !== 200) throw unreadable(`its status is ${answer.status}`);
    const named = nameList(answer, operation.repository);
    if (exchange.method !== 'HEAD' && !wholeAnswers.hold(exchange.res, named.body)) throw noRoom();
    wholeAnswers.send(exchange, writeWholeHead(exchange, named, editsFor(exchange)));
    return true;
  };
}

function nameList(answer: Fetched, name: string): Fetched {
  const { rawHeaders } = answer;
  try {
    const body = Buffer.from(JSON.stringify({ ...readJsonObject(answer.body), name }) + '\n');
    const kept = rawHeaders.filter((_, i, all) => !ofBody.test(all[i - (i % 2)] ?? ''));
    return { ...answer, rawHeaders: kept, body };
  } catch (error) {
    throw error instanceof RangeError ? unreadable(error.message) : error;
  }
}

function unreadable(reason: string): OciError {
  return new OciError('BAD_GATEWAY', 'The registry sent no list of tags that can be read here.', {
    cause: new Error(reason),
  });
}
