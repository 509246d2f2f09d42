import { clientNetwork } from '../../../http/client-network.ts';
import {
  catalogPath,
  formatCatalogQuery,
  parseCatalogPage,
  parseCatalogQuery,
} from '../../../registry/lists/catalog.ts';
import { OciError } from '../../../registry/error.ts';
import { principalText, type Principal } from '../../../registry/principal.ts';
import { headerPairs } from '../../../http/raw-headers.ts';
import { parseSearchPage, parseSearchQuery, readSearchedText } from '../../../registry/lists/search.ts';
import type { CanonicalTarget } from '../../../registry/target.ts';
import type { RequestUpstream, InternalRequest, Fetched } from '../../../upstream/request.ts';
import { writeWholeHead } from '../../serve/cache-response.ts';
import { collectCatalog, type Refused } from './catalog.ts';
import { whileClientStays } from '../../while-client-stays.ts';
import type { Exchange } from '../../exchange.ts';
import type { PageCursors } from './page-cursors.ts';
import type { EditsFor } from '../../response-edits.ts';
import { collectSearch } from './search.ts';
import type { Walks } from './walks.ts';
import { noRoom, type WholeAnswers } from '../../whole-answers.ts';

/** Requests that name many repositories: the v2 catalog, and the v1 search. */
export type ListingKind = 'catalog' | 'search';

/**
 * Answers with the visible repositories; returns the status of upstream's own answer, such as an error, and otherwise
 * 200.
 * @param headers the request's fields for upstream
 * @throws OciError when upstream gave no answer, or an unusable one
 */
export type AnswerListing = (
  exchange: Exchange,
  target: CanonicalTarget,
  listing: {
    readonly kind: ListingKind;
    /** Who sees it: lists are shared between equal principals. */
    readonly principal: Principal;
    /** Null: nothing is visible, and upstream is not asked. */
    readonly shows: ((repository: string) => boolean) | null;
    readonly headers: InternalRequest['headers'];
  },
) => Promise<number>;

export type ListingsOptions = {
  readonly requestUpstream: RequestUpstream;
  readonly cursors: PageCursors;
  readonly editsFor: EditsFor;
  /** The most pages of upstream's list for one answer. */
  readonly maxPages: number;
  /** The largest page, in bytes. */
  readonly maxPageBytes: number;
  readonly walks: Walks;
  readonly wholeAnswers: WholeAnswers;
};

/** Fields with which a client requests something other than the whole, plain answer. */
const shaping = /^(?:accept-encoding|range|if-.*)$/i;
/** Header fields of upstream that say nothing about its list, unlike a length, a count or an ETag. */
const kept =
  /^(?:access-control-.*|cache-control|content-type|docker-distribution-api-version|server|strict-transport-security|vary|x-content-type-options|x-docker-registry-.*)$/i;

/** Fields that differ per request: two requests that differ only in these are equal. */
const ofOneRequest =
  /^(?:user-agent|x-forwarded-for|x-real-ip|x-request-id|traceparent|tracestate|baggage)$/i;

type Listing = Parameters<AnswerListing>[2];

export function createListings(options: ListingsOptions): AnswerListing {
  const { walks, wholeAnswers } = options;
  const collect = createCollect(options);
  return async (exchange, target, listing) => {
    const { kind, principal, shows, headers } = listing;
    const shared = Object.entries(headers).filter(([name]) => !ofOneRequest.test(name));
    const key = JSON.stringify([kind, principal, target.raw, shared]);
    const user = principalText(principal);
    // No principal's text begins with a line feed.
    const walker = { group: user ?? '\n', client: user ?? `\n${clientNetwork(exchange.clientAddress)}` };
    const answer = await whileClientStays(exchange, (left) => {
      const walk = (signal: AbortSignal) => collect(target, listing, signal);
      return shows === null ? walk(left) : walks.run(key, walker, walk, left);
    });
    if (answer === null) return 0;
    if (exchange.method !== 'HEAD' && !wholeAnswers.hold(exchange.res, answer.body)) throw noRoom();
    const edits = options.editsFor(exchange);
    wholeAnswers.send(exchange, writeWholeHead(exchange, answer, edits));
    return answer.status;
  };
}

/** Creates the function that builds a list; it returns the answer, or upstream's own error. */
function createCollect({ requestUpstream, cursors, maxPages, maxPageBytes }: ListingsOptions) {
  return async (
    target: CanonicalTarget,
    { kind, shows, headers }: Listing,
    signal: AbortSignal,
  ): Promise<Fetched> => {
    const path = kind === 'catalog' ? catalogPath : '/v1/search';
    const asked = {
      ...Object.fromEntries(Object.entries(headers).filter(([name]) => !shaping.test(name))),
      'Accept-Encoding': 'identity',
    };
    let first: Fetched | undefined;
    const createPageFetcher =
      <P>(parse: (answer: Fetched) => P) =>
      async (query: string): Promise<P | Refused> => {
        const request = { method: 'GET', rawTarget: `${path}?${query}`, headers: asked } as const;
        const answer =
          shows === null
            ? describeNothing(kind, target)
            : await requestUpstream(request, { maxBytes: maxPageBytes, signal });
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
    const options = { shows: shows ?? (() => false), maxPages };
    const answerWith = (content: object, link: readonly string[]): Fetched => ({
      status: 200,
      reason: 'OK',
      rawHeaders: [
        ...[...headerPairs(first?.rawHeaders ?? [])].filter(([name]) => kept.test(name)).flat(),
        ...link,
      ],
      body: Buffer.from(JSON.stringify(content) + '\n'),
    });
    if (kind === 'search') {
      const fetchPage = createPageFetcher(({ body }) => parseSearchPage(body));
      const found = await collectSearch(parseSearchQuery(target), { ...options, fetchPage });
      return 'refused' in found ? (found as Refused).refused : answerWith(found, []);
    }
    const fetchPage = createPageFetcher(({ rawHeaders, body }) => parseCatalogPage(rawHeaders, body));
    const page = await collectCatalog(parseCatalogQuery(target), { ...options, fetchPage, cursors });
    if ('refused' in page) return page.refused;
    const { names, size, last } = page;
    const next = formatCatalogQuery({ last, n: String(size) });
    return answerWith(
      { repositories: names },
      last === null ? [] : ['Link', `<${catalogPath}?${next}>; rel="next"`],
    );
  };
}

/** What a registry without repositories would answer. */
function describeNothing(kind: ListingKind, target: CanonicalTarget): Fetched {
  const content =
    kind === 'catalog' ? { repositories: [] } : { query: readSearchedText(target), results: [] };
  return {
    status: 200,
    reason: 'OK',
    rawHeaders: [
      ...['Content-Type', 'application/json; charset=utf-8'],
      ...(kind === 'catalog' ? ['Docker-Distribution-Api-Version', 'registry/2.0'] : []),
    ],
    body: Buffer.from(JSON.stringify(content)),
  };
}

function unreadable(reason: string): OciError {
  return new OciError('BAD_GATEWAY', 'The registry sent no list of repositories that can be read here.', {
    cause: new Error(reason),
  });
}
