import type { IncomingMessage } from 'node:http';
import type { Answer } from '../../cache/entry.ts';
import { OciError } from '../../registry/error.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import { buildClientHeaders, type ResponseEdits } from '../../upstream/response-headers.ts';
import type { Exchange } from '../exchange.ts';

/**
 * Fields with which a client requests something other than the whole, newest answer, or by which upstream recognises
 * it.
 */
const personalFields = [
  'range',
  'if-range',
  'if-match',
  'if-modified-since',
  'if-unmodified-since',
  'cookie',
  'pragma',
];

/** Whether the request asks only for what any client would get. */
export function isShareable({ rawHeaders }: IncomingMessage): boolean {
  if (personalFields.some((name) => headerValues(rawHeaders, name).length > 0)) return false;
  return !/\bno-(cache|store)\b/i.test(headerValues(rawHeaders, 'cache-control').join());
}

/** Set anew for each answer. */
const perAnswer: ReadonlySet<string> = new Set(['date', 'content-length', 'age', 'x-cache']);

/** The fields of an answer in memory, built once for all requests with equal edits. */
const prepared = new WeakMap<Answer, { readonly edits: AnswerEdits; readonly fields: string[] }>();
type AnswerEdits = Pick<ResponseEdits, 'names' | 'outerPath' | 'ownsCors' | 'passesV1Tokens'>;

function prepareFields(answer: Answer, edits: ResponseEdits): string[] {
  const known = prepared.get(answer);
  if (known !== undefined && comeOutAlike(known.edits, edits)) return known.fields;
  const kept = answer.rawHeaders.filter(
    (_, i, all) => !perAnswer.has((all[i - (i % 2)] ?? '').toLowerCase()),
  );
  const fields = buildClientHeaders(kept, { ...edits, set: {} });
  const { names, outerPath, ownsCors, passesV1Tokens } = edits;
  prepared.set(answer, { edits: { names, outerPath, ownsCors, passesV1Tokens }, fields });
  return fields;
}

function comeOutAlike(one: AnswerEdits, other: AnswerEdits): boolean {
  return (
    one.names.host === other.names.host &&
    one.names.origin === other.names.origin &&
    one.outerPath === other.outerPath &&
    one.ownsCors === other.ownsCors &&
    one.passesV1Tokens === other.passesV1Tokens
  );
}

/**
 * Writes the head of an answer that is held whole, as upstream gave it, or a 304 (RFC 9110 section 13.1.2). Gives the body that is still to be sent.
 * @throws OciError BAD_GATEWAY for a head that cannot be sent on.
 */
export function writeWholeHead(exchange: Exchange, answer: Answer, edits: ResponseEdits): Buffer | undefined {
  const { req, res, method } = exchange;
  const notModified = answer.status === 200 && matchesEtag(req.rawHeaders, answer.rawHeaders);
  const headers = [...prepareFields(answer, edits), ...Object.entries(edits.set).flat()];
  try {
    if (notModified) res.writeHead(304, withoutContent(headers));
    else {
      headers.push('Content-Length', String(answer.body.length));
      res.writeHead(answer.status, answer.reason, headers);
    }
  } catch (cause) {
    throw new OciError('BAD_GATEWAY', 'The registry sent an answer that is not valid HTTP.', { cause });
  }
  if (notModified || method === 'HEAD') return undefined;
  return answer.body;
}

function matchesEtag(request: RawHeaders, answer: RawHeaders): boolean {
  const asked = headerValues(request, 'if-none-match').flatMap((value) => value.split(','));
  if (asked.length === 0) return false;
  const [etag] = headerValues(answer, 'etag');
  if (etag === undefined) return false;
  // Without its quotes too, as distribution takes it.
  const opaque = (tag: string) => tag.trim().replace(/^(?:W\/)?"(.*)"$/, '$1');
  return asked.some((tag) => opaque(tag) === '*' || opaque(tag) === opaque(etag));
}

function withoutContent(headers: readonly string[]): string[] {
  return headers.filter((_, i) => !(headers[i - (i % 2)] ?? '').toLowerCase().startsWith('content-'));
}
