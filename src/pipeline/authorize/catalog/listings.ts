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
import type { ListedRegistry } from '../../routes/listed-registries.ts';
import { collectCatalog, type CatalogAnswer, type Refused } from './catalog.ts';
import { collectMergedCatalog, type Unlisted } from './merged-catalog.ts';
import type { RoutePages } from './route-pages.ts';
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
    /** Null: nothing is visible, and no registry is asked. */
    readonly shows: ((repository: string) => boolean) | null;
    /** Whether everything is visible. */
    readonly showsAll: boolean;
    readonly headers: InternalRequest['headers'];
  },
) => Promise<number>;

export type ListingsOptions = {
  readonly requestUpstream: RequestUpstream;
  /** Null: there are no routes, and upstream's list is the only one. */
  readonly merged: MergedLists | null;
  readonly cursors: PageCursors;
  readonly editsFor: EditsFor;
  /** The most pages of upstream's list for one answer. */
  readonly maxPages: number;
  /** The largest page, in bytes. */
  readonly maxPageBytes: number;
  readonly walks: Walks;
  readonly wholeAnswers: WholeAnswers;
};

/** What the list of all registries is built from. */
export type MergedLists = {
  readonly registries: readonly ListedRegistry[];
  readonly pages: RoutePages;
  /** Seals places in the list of all. */
  readonly cursors: PageCursors;
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
function createCollect({ requestUpstream, merged, cursors, maxPages, maxPageBytes }: ListingsOptions) {
  const upstream = merged?.registries.find(({ route }) => route === null);
  return async (
    target: CanonicalTarget,
    { kind, shows, showsAll, headers }: Listing,
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
    const answerWith = (content: object, fields: readonly string[]): Fetched => ({
      status: 200,
      reason: 'OK',
      rawHeaders: [
        ...[...headerPairs(first?.rawHeaders ?? [])].filter(([name]) => kept.test(name)).flat(),
        ...fields,
      ],
      body: Buffer.from(JSON.stringify(content) + '\n'),
    });
    if (kind === 'search') {
      const fetchPage = createPageFetcher(({ body }) => parseSearchPage(body));
      const isShown = (name: string) => options.shows(name) && upstream?.owns(name) !== false;
      const found = await collectSearch(parseSearchQuery(target), { ...options, shows: isShown, fetchPage });
      return 'refused' in found ? (found as Refused).refused : answerWith(found, []);
    }
    const fetchPage = createPageFetcher(({ rawHeaders, body }) => parseCatalogPage(rawHeaders, body));
    const asks = parseCatalogQuery(target);
    if (merged === null || shows === null) {
      const page = await collectCatalog(asks, { ...options, fetchPage, cursors });
      return 'refused' in page ? page.refused : answerWith({ repositories: page.names }, linkTo(page));
    }
    const fetchRoutePage = merged.pages.open(asked, signal);
    const page = await collectMergedCatalog(asks, {
      ...{ ...options, registries: merged.registries, cursors: merged.cursors },
      fetchPage: (registry, query) =>
        registry.route === null ? fetchPage(query) : fetchRoutePage(registry, query),
    });
    if ('refused' in page) return page.refused;
    merged.pages.note(page.unlisted);
    return answerWith({ repositories: page.names }, [...linkTo(page), ...warnOf(page.unlisted, showsAll)]);
  };
}

function linkTo({ last, size }: CatalogAnswer): string[] {
  const next = formatCatalogQuery({ last, n: String(size) });
  return last === null ? [] : ['Link', `<${catalogPath}?${next}>; rel="next"`];
}

/** distribution-spec, "Warnings". Who may not pull everything learns of no route. */
function warnOf(unlisted: readonly Unlisted[], showsAll: boolean): string[] {
  if (unlisted.length === 0) return [];
  const whose = unlisted.map(({ registry }) => registry.route ?? 'upstream').join(', ');
  const text = showsAll
    ? `Repositories are missing in this list: no complete list came from ${whose}.`
    : 'Repositories may be missing in this list: a registry gave no complete one.';
  return ['Warning', `299 - "${text}"`];
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
