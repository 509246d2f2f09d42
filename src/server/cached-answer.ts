import type { IncomingMessage } from 'node:http';
import type { Answer } from '../cache/entry.ts';
import { OciError } from '../oci/error.ts';
import { headerValues, type RawHeaders } from '../oci/raw-headers.ts';
import { buildClientHeaders, type ResponseEdits } from '../proxy/headers.ts';
import type { Exchange } from './exchange.ts';

/** Fields by which a client asks for something else than the whole, newest answer, or by which upstream knows it. */
const personalFields = [
  'range',
  'if-range',
  'if-match',
  'if-modified-since',
  'if-unmodified-since',
  'cookie',
  'pragma',
];

/** Whether the request asks for nothing but what anyone would get. */
export function isImpersonal({ rawHeaders }: IncomingMessage): boolean {
  if (personalFields.some((name) => headerValues(rawHeaders, name).length > 0)) return false;
  return !/\bno-(cache|store)\b/i.test(headerValues(rawHeaders, 'cache-control').join());
}

/** Set anew for each answer. */
const perAnswer: ReadonlySet<string> = new Set(['date', 'content-length', 'age', 'x-cache']);

/**
 * Writes an answer that is held whole, as upstream gave it, or a 304 (RFC 9110 section 13.1.2). The answer is still to be ended.
 * @throws OciError BAD_GATEWAY for a head that cannot be sent on.
 */
export function writeWholeAnswer(exchange: Exchange, answer: Answer, edits: ResponseEdits): void {
  const { req, res, method } = exchange;
  const kept = answer.rawHeaders.filter(
    (_, i, all) => !perAnswer.has((all[i - (i % 2)] ?? '').toLowerCase()),
  );
  const notModified = answer.status === 200 && matchesEtag(req.rawHeaders, answer.rawHeaders);
  const headers = buildClientHeaders(kept, edits);
  try {
    if (notModified) res.writeHead(304, withoutContent(headers));
    else
      res.writeHead(answer.status, answer.reason, [...headers, 'Content-Length', String(answer.body.length)]);
  } catch (cause) {
    throw new OciError('BAD_GATEWAY', 'The registry gave an answer that is not valid HTTP.', { cause });
  }
  if (notModified) return;
  if (method === 'HEAD') return;
  res.write(answer.body);
  exchange.bytesOut = answer.body.length;
}

function matchesEtag(request: RawHeaders, answer: RawHeaders): boolean {
  const asked = headerValues(request, 'if-none-match').flatMap((value) => value.split(','));
  const [etag] = headerValues(answer, 'etag');
  if (asked.length === 0 || etag === undefined) return false;
  // Without its quotes too, as distribution takes it.
  const opaque = (tag: string) => tag.trim().replace(/^(?:W\/)?"(.*)"$/, '$1');
  return asked.some((tag) => opaque(tag) === '*' || opaque(tag) === opaque(etag));
}

function withoutContent(headers: readonly string[]): string[] {
  return headers.filter((_, i) => !(headers[i - (i % 2)] ?? '').toLowerCase().startsWith('content-'));
}
