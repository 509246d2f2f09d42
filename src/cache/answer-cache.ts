import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { headerValues } from '../http/raw-headers.ts';
import type { Cacheable, Written } from './cacheable.ts';
import { decodeEntry, encodeEntry, type Answer } from './entry.ts';
import { createLookups, type LookupRoom } from './lookups.ts';
import { isShareable } from './shareable.ts';
import { createSharedAnswers } from './shared-answers.ts';
import { createSharedFetches, type FetchOutcome } from './shared-fetches.ts';
import { createStorable, type Storable } from './storable.ts';
import type { CacheStore, Slot, Ticket } from './stores/store.ts';
import { createVariantReader } from './variants.ts';

/** A request to upstream on behalf of all who wait for the answer. Contains nothing of a single client. */
export type SharedRequest = {
  readonly rawTarget: string;
  /** Host as the client sent it; null for none. */
  readonly host: string | null;
  /** The values of all Accept fields. */
  readonly accept: readonly string[];
  /** Whether it is conditional (If-None-Match): without a stored answer upstream decides. */
  readonly isConditional: boolean;
  /** Calls back when the client no longer waits. */
  readonly whenGone: (listener: () => void) => void;
};

export type CacheResult =
  | { readonly kind: 'HIT' | 'MISS'; readonly answer: Answer }
  /** The client's own request must be forwarded to upstream. */
  | { readonly kind: 'BYPASS' };

/** A write that has been announced. Await `end` before its answer is sent. */
export type AnnouncedWrite = { end(): Promise<void> };

export type CacheCounters = Record<
  'hit' | 'miss' | 'bypass' | 'store' | 'evict' | 'errors' | 'bytesServed',
  number
>;

/** Answers manifests and other small files from a store. No answer is older than an acknowledged write. */
export type AnswerCache = {
  /** @throws OciError when upstream did not answer. */
  answer(cacheable: Cacheable, request: SharedRequest): Promise<CacheResult>;
  announceWrite(written: Written): Promise<AnnouncedWrite>;
  readonly counters: Readonly<CacheCounters>;
  /** Stops storing: another cache has replaced this one. */
  retire(): void;
};

export type AnswerCacheOptions = {
  /** Shared with the caches before and after it, so that a write through one takes effect in all. */
  readonly store: CacheStore;
  /** Shared likewise. */
  readonly counters: CacheCounters;
  readonly maxEntryBytes: number;
  /** Room for large answers being read from the store. */
  readonly room: LookupRoom;
  /** Additional header fields with which an answer may be stored. */
  readonly storedFields: readonly string[];
  /**
   * Requests from upstream with GET. Returns null for an answer larger than `maxBytes`. @throws OciError when there is
   * none.
   */
  readonly fetch: (
    request: SharedRequest,
    limits: { maxBytes: number; signal: AbortSignal },
  ) => Promise<Answer | null>;
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  readonly logger: Pick<Logger, 'warn'>;
};

/** A request to upstream, and what decides whether its answer is stored. */
type Fetch = {
  readonly cacheable: Cacheable;
  readonly slot: Slot;
  readonly ticket: Ticket;
  readonly request: SharedRequest;
  /** Whether the request's Accept named the answer's type. */
  readonly accepts: (answer: Answer) => boolean;
};

/** The interval at which damaged stored answers are logged, in milliseconds. */
const damageLogMs = 10_000;

/** Creates counters that are all 0. */
export function createCacheCounters(): CacheCounters {
  return { hit: 0, miss: 0, bypass: 0, store: 0, evict: 0, errors: 0, bytesServed: 0 };
}

export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { store, counters, maxEntryBytes, now } = options;
  const readVariant = createVariantReader();
  const storable = createStorable(options.storedFields);
  const share = createSharedAnswers();
  const decode = createDecoder(storable, share);
  const lookUp = createLookups(store, options.room);
  const fetches = createSharedFetches(now);
  const warnings = createWarnings(options);
  let isRetired = false;

  const bypass = (): CacheResult => {
    counters.bypass += 1;
    return { kind: 'BYPASS' };
  };
  const hit = (answer: Answer): CacheResult => {
    counters.hit += 1;
    counters.bytesServed += answer.body.length;
    return { kind: 'HIT', answer };
  };

  const answer: AnswerCache['answer'] = async (cacheable, request) => {
    const { accept, variant, acceptHash } = readVariant(cacheable.kind, request);
    const slot: Slot = { scope: cacheable.scope, item: cacheable.item, variant };
    const accepts = ({ rawHeaders }: Answer) =>
      cacheable.kind === 'v1' || accept.names(headerValues(rawHeaders, 'content-type')[0] ?? '');
    const found = await lookUp(slot);
    if (found.kind === 'crowded') return bypass();
    if (found.kind === 'unavailable') {
      counters.errors += 1;
      return bypass();
    }
    const { ticket } = found;
    if (found.kind === 'found') {
      const stored = decode(found.value, cacheable);
      if (stored !== null) return accepts(stored) ? hit(stored) : bypass();
      counters.errors += 1;
      warnings.damage(slot);
    }
    if (request.isConditional) return bypass();
    const fetched = await fetches.join(
      JSON.stringify([slot, acceptHash]),
      ticket,
      request.whenGone,
      (signal) => fetchAndStore({ cacheable, slot, ticket, request, accepts }, signal),
    );
    if (fetched === null) return bypass();
    counters.miss += 1;
    return { kind: 'MISS', answer: fetched };
  };

  const fetchAndStore = async (fetch: Fetch, signal: AbortSignal): Promise<FetchOutcome> => {
    const startedAtMs = now();
    const limits = { maxBytes: maxEntryBytes, signal };
    const got = await options.fetch(fetch.request, limits).catch((error: unknown) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (got === null || !isShareable(got)) return { answer: null };
    const kept =
      !isRetired && fetch.accepts(got) ? storable.take(fetch.cacheable, got, warnings.field) : null;
    if (kept === null) return { answer: got };
    const entry = encodeEntry(kept);
    const stored = fill(options, fetch, entry, startedAtMs);
    // Clients that wait now and those that find it stored later share this memory: the body is the end of the entry.
    const body = entry.subarray(entry.length - kept.body.length);
    return { answer: share(entry, { ...kept, body }), stored };
  };

  return {
    answer,
    announceWrite: (written) => announceWrite(options, written),
    counters,
    retire: () => {
      isRetired = true;
    },
  };
}

async function fill(
  { store, counters, now }: Pick<AnswerCacheOptions, 'store' | 'counters' | 'now'>,
  { slot, ticket }: Fetch,
  entry: Buffer,
  startedAtMs: number,
): Promise<void> {
  const { stored, evicted } = await store.fill(slot, ticket, entry, now() - startedAtMs);
  if (stored) counters.store += 1;
  counters.evict += evicted;
}

async function announceWrite(
  { store, counters }: Pick<AnswerCacheOptions, 'store' | 'counters'>,
  written: Written,
): Promise<AnnouncedWrite> {
  const change = { ...written, id: randomBytes(8).toString('hex') };
  if (!(await store.beginWrite(change))) counters.errors += 1;
  let ended: Promise<void> | undefined;
  return {
    end: () =>
      (ended ??= store.endWrite(change).then((isKnown) => {
        if (!isKnown) counters.errors += 1;
      })),
  };
}

/** Creates the decoder of stored answers; null: damaged, or impossible for this item. */
function createDecoder(
  storable: Storable,
  share: (stored: Buffer, answer: Answer) => Answer,
): (value: Buffer, cacheable: Cacheable) => Answer | null {
  /** The memory store returns the same bytes each time; bytes read over a network are new each time, and checked. */
  const decoded = new WeakMap<Buffer, Answer>();
  return (value, cacheable) => {
    const known = decoded.get(value);
    if (known) return known;
    const read = decodeEntry(value);
    if (read === null || !storable.couldBe(cacheable, read)) return null;
    const answer = share(value, read);
    decoded.set(value, answer);
    return answer;
  };
}

/** Warns of damage at intervals, and of each field once. */
function createWarnings({ logger, now }: Pick<AnswerCacheOptions, 'logger' | 'now'>) {
  let damageLoggedAtMs = -Infinity;
  let hasWarnedOfField = false;
  return {
    damage: ({ scope, item }: Slot): void => {
      if (now() - damageLoggedAtMs < damageLogMs) return;
      damageLoggedAtMs = now();
      logger.warn({ scope, item }, 'a cached answer was damaged: upstream is asked again');
    },
    field: (field: string): void => {
      if (hasWarnedOfField) return;
      hasWarnedOfField = true;
      logger.warn(
        { field: field.slice(0, 100) },
        'answers of the registry are not cached: they have a header field that is not in cache.headers',
      );
    },
  };
}
