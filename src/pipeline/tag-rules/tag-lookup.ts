import { OciError } from '../../registry/error.ts';
import { headerValues, type RawHeaders } from '../../http/raw-headers.ts';
import { tagForm } from '../../registry/names/tag.ts';
import type { RequestUpstream, Fetched } from '../../upstream/request.ts';
import type { Exchange } from '../exchange.ts';
import { buildInternalHeaders } from '../serve/internal-request.ts';

export type TagLookupOptions = {
  readonly requestUpstream: RequestUpstream;
  /** The largest manifest that is read, in bytes. */
  readonly maxManifestBytes: number;
  /** The most requests to upstream because of one request, of those that are counted together. */
  readonly maxRequests: number;
  /** The largest list of tags that is read, all pages together, in bytes. */
  readonly maxListBytes: number;
};

/**
 * Lookups at upstream because of one request, never in a cache. @throws OciError BAD_GATEWAY or GATEWAY_TIMEOUT when
 * upstream does not say, and DENIED when too many requests would be needed.
 */
export type TagLookup = {
  /** The registry's answer, whatever it is; null: it is larger than a manifest may be. */
  request(method: 'GET' | 'HEAD', path: string): Promise<Fetched | null>;
  /** Finds what a tag names, by its path; null: nothing. `digest` null: upstream does not say, as in the first protocol. */
  find(method: 'GET' | 'HEAD', path: string): Promise<{ readonly digest: string | null } | null>;
  /** Lists the tags of a repository that `isWanted` accepts. */
  listTags(repository: string, isWanted: (tag: string) => boolean): Promise<readonly string[]>;
  /** Why no more requests are possible; null: they are. */
  end(): 'late' | 'exhausted' | 'gone' | null;
  /** Call it once; aborts running requests. */
  close(): void;
};

/**
 * @param authorization the Authorization value for upstream; null for none
 * @param limitMs the time limit of all lookups together, in milliseconds
 */
export function openTagLookup(
  { requestUpstream, maxManifestBytes, maxRequests, maxListBytes }: TagLookupOptions,
  exchange: Exchange,
  authorization: string | null,
  limitMs: number,
): TagLookup {
  const { res } = exchange;
  const headers = buildInternalHeaders(exchange, authorization);
  const asking = new AbortController();
  const { signal } = asking;
  const stop = () => asking.abort();
  let isLate = false;
  let requestsLeft = maxRequests;
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, limitMs);
  res.once('close', stop);
  if (res.destroyed) stop();

  const sendRequest = async (
    method: 'GET' | 'HEAD',
    path: string,
    maxBytes: number,
  ): Promise<Fetched | null> => {
    requestsLeft -= 1;
    if (requestsLeft < 0)
      throw unclear(
        `that takes more than the ${maxRequests} requests to the registry that limits.tagQuestions allows. What was learned is kept, so try again; if the repository has more immutable tags than that, raise the limit`,
      );
    try {
      return await requestUpstream({ method, rawTarget: path, headers }, { maxBytes, signal });
    } catch (error) {
      if (isLate)
        throw new OciError('GATEWAY_TIMEOUT', `The registry did not say within ${limitMs} ms ${whatFor}.`);
      throw signal.aborted ? clientGone() : error;
    }
  };

  /** Null: there is no such thing. */
  const get = async (method: 'GET' | 'HEAD', path: string, maxBytes: number): Promise<Fetched | null> => {
    const answer = await sendRequest(method, path, maxBytes);
    if (answer === null) throw unclear(`the registry's answer has more than ${maxBytes} bytes`);
    if (answer.status === 404) return null;
    if (answer.status !== 200)
      throw new OciError('BAD_GATEWAY', `The registry did not say ${whatFor}: it answered ${answer.status}.`);
    return answer;
  };

  return {
    request: (method, path) => sendRequest(method, path, maxManifestBytes),
    find: async (method, path) => {
      const found = await get(method, path, maxManifestBytes);
      return found && { digest: readDigest(found.rawHeaders) };
    },
    listTags: async (repository, isWanted) => {
      const path = `/v2/${repository}/tags/list`;
      const tags: string[] = [];
      let bytesLeft = maxListBytes;
      for (let query: string | null = ''; query !== null;) {
        const page = await sendRequest('GET', path + query, bytesLeft);
        if (page === null)
          throw unclear(
            `its list of tags has more than the ${maxListBytes} bytes that limits.tagListBytes allows`,
          );
        if (page.status === 404) break;
        if (page.status !== 200)
          throw new OciError(
            'BAD_GATEWAY',
            `The registry did not say ${whatFor}: it answered ${page.status}.`,
          );
        bytesLeft -= page.body.length;
        for (const tag of parseTagList(page.body)) if (isWanted(tag)) tags.push(tag);
        query = readNextQuery(page.rawHeaders);
      }
      return tags;
    },
    end: () => (isLate ? 'late' : signal.aborted ? 'gone' : requestsLeft < 0 ? 'exhausted' : null),
    close: () => {
      clearTimeout(timer);
      res.off('close', stop);
      stop();
    },
  };
}

const whatFor = 'what its immutable tags name, so the request was refused';

/** For the log: nobody reads it. */
export function clientGone(): OciError {
  return new OciError('REQUEST_TIMEOUT', 'The client has left.');
}

function unclear(why: string): OciError {
  return new OciError(
    'DENIED',
    `It could not be found out what the repository's immutable tags name: ${why}.`,
  );
}

/** The one digest that an answer's head names; null: none, or several. */
export function readDigest(rawHeaders: RawHeaders): string | null {
  const [digest, ...others] = headerValues(rawHeaders, 'docker-content-digest');
  return digest === undefined || others.length > 0 ? null : digest;
}

/** distribution-spec, "Listing Tags". @throws OciError BAD_GATEWAY for anything else */
function parseTagList(body: Buffer): string[] {
  const { tags } = parseObject(body) as { tags?: unknown };
  // A repository whose last tag was deleted has null.
  if (tags === null) return [];
  if (!Array.isArray(tags) || !tags.every(isTag))
    throw new OciError('BAD_GATEWAY', `The registry did not say ${whatFor}: it sent no list of tags.`);
  return tags;
}

function isTag(tag: unknown): tag is string {
  return typeof tag === 'string' && tagForm.test(tag);
}

function parseObject(body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** The query of the next page (RFC 8288); null: there is none. */
function readNextQuery(rawHeaders: RawHeaders): string | null {
  for (const link of headerValues(rawHeaders, 'link')) {
    const [, url = ''] = /<([^<>]*)>\s*;\s*rel="?next"?/i.exec(link) ?? [];
    // A next page that cannot be found could hold the very tag.
    if (url === '' && !/\bnext\b/i.test(link)) continue;
    const queryAt = url.indexOf('?');
    const query = queryAt === -1 ? '' : url.slice(queryAt);
    if (!/^\?[\x21-\x7e]+$/.test(query))
      throw new OciError(
        'BAD_GATEWAY',
        `The registry did not say ${whatFor}: a page of tags has no next one.`,
      );
    return query;
  }
  return null;
}
