import { catalogPath, formatCatalogQuery, parseCatalogPage, parseCatalogQuery } from '../oci/catalog.ts';
import { OciError } from '../oci/error.ts';
import { headerPairs } from '../oci/raw-headers.ts';
import { parseSearchPage, parseSearchQuery } from '../oci/search.ts';
import type { CanonicalTarget } from '../oci/target.ts';
import type { Ask, AskedRequest, Fetched } from '../proxy/fetch.ts';
import { writeWholeHead } from './cached-answer.ts';
import { collectCatalog, type Refused } from './catalog.ts';
import { whileClientStays } from './client-stay.ts';
import type { Exchange } from './exchange.ts';
import type { PageCursors } from './page-cursors.ts';
import { collectSearch } from './search.ts';

/** What names many repositories: v2's list of them, and v1's search. */
export type ListingKind = 'catalog' | 'search';

/**
 * Answers with those repositories that are shown; gives the status of what is upstream's own answer, such as an error, and else 200.
 * @param headers what upstream is told about the request
 * @throws OciError when upstream gave no answer, or none of its kind
 */
export type AnswerListing = (
  exchange: Exchange,
  target: CanonicalTarget,
  listing: {
    readonly kind: ListingKind;
    readonly shows: (repository: string) => boolean;
    readonly headers: AskedRequest['headers'];
  },
) => Promise<number>;

export type ListingsOptions = {
  readonly ask: Ask;
  readonly cursors: PageCursors;
  readonly upstreamUrl: URL;
  /** How many parts of upstream's list are read for one answer. */
  readonly maxPages: number;
  /** The largest part, in bytes. */
  readonly maxPageBytes: number;
};

/** Fields by which a client asks for something else than the whole of an answer that can be read here. */
const shaping = /^(?:accept-encoding|range|if-.*)$/i;
/** What of upstream's head says nothing of its list: a length, a count, a tag would. */
const kept =
  /^(?:access-control-.*|cache-control|content-type|docker-distribution-api-version|server|strict-transport-security|vary|x-content-type-options|x-docker-registry-.*)$/i;

export function createListings(options: ListingsOptions): AnswerListing {
  const { ask, cursors, upstreamUrl, maxPages, maxPageBytes } = options;
  return async (exchange, target, { kind, shows, headers }) => {
    const path = kind === 'catalog' ? catalogPath : '/v1/search';
    const asked = {
      ...Object.fromEntries(Object.entries(headers).filter(([name]) => !shaping.test(name))),
      'Accept-Encoding': 'identity',
    };
    let first: Fetched | undefined;
    const askPart =
      <P>(signal: AbortSignal, parse: (answer: Fetched) => P) =>
      async (query: string): Promise<P | Refused> => {
        const request = { method: 'GET', rawTarget: `${path}?${query}`, headers: asked } as const;
        const answer = await ask(request, { maxBytes: maxPageBytes, signal });
        if (answer === null) throw unreadable(`it has more than ${maxPageBytes} bytes`);
        if (answer.status >= 400) return { refused: answer };
        if (answer.status !== 200) throw unreadable(`its status is ${answer.status}`);
        first ??= answer;
        try {
          return parse(answer);
        } catch (error) {
          throw error instanceof RangeError ? unreadable(error.message) : error;
        }
      };
    const collected = await whileClientStays(exchange, async (signal) => {
      if (kind === 'search') {
        const askPage = askPart(signal, ({ body }) => parseSearchPage(body));
        const found = await collectSearch(parseSearchQuery(target), { askPage, shows, maxPages });
        return 'refused' in found ? (found as Refused) : { content: found, link: null };
      }
      const askPage = askPart(signal, ({ rawHeaders, body }) => parseCatalogPage(rawHeaders, body));
      const page = await collectCatalog(parseCatalogQuery(target), { askPage, shows, cursors, maxPages });
      if ('refused' in page) return page;
      const { names, size, last } = page;
      const next = formatCatalogQuery({ last, n: String(size) });
      const link = last === null ? null : `<${catalogPath}?${next}>; rel="next"`;
      return { content: { repositories: names }, link };
    });
    if (collected === null) return 0;

    const edits = {
      set: exchange.answerHeaders,
      clientHost: exchange.host,
      mayHaveTrailers: false,
      upstreamUrl,
    };
    if ('refused' in collected) {
      exchange.res.end(writeWholeHead(exchange, collected.refused, edits));
      return collected.refused.status;
    }
    const link = collected.link === null ? [] : ['Link', collected.link];
    const rawHeaders = [...headerPairs(first?.rawHeaders ?? [])].filter(([name]) => kept.test(name)).flat();
    const body = Buffer.from(JSON.stringify(collected.content) + '\n');
    const answer = { status: 200, reason: 'OK', rawHeaders: [...rawHeaders, ...link], body };
    exchange.res.end(writeWholeHead(exchange, answer, edits));
    return 200;
  };
}

function unreadable(reason: string): OciError {
  return new OciError('BAD_GATEWAY', 'The registry gave no list of repositories that can be read here.', {
    cause: new Error(reason),
  });
}
