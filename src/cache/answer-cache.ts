import { createHash, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { headerValues } from '../http/raw-headers.ts';
import { parseAccept, type Accept } from './accept.ts';
import type { Cacheable, Written } from './cacheable.ts';
import { decodeEntry, encodeEntry, type Answer } from './entry.ts';
import { createLookups, type LookupRoom } from './lookups.ts';
import { isShareable } from './shareable.ts';
import { createSharedAnswers } from './shared-answers.ts';
import { createStorable } from './storable.ts';
import type { CacheStore, Slot, Ticket } from './store.ts';

/** What upstream is asked on behalf of everyone who waits for the answer; nothing of a single client is in it. */
export type SharedRequest = {
  readonly rawTarget: string;
  /** Host as the client sent it; null for none. */
  readonly host: string | null;
  /** The values of all Accept fields. */
  readonly accept: readonly string[];
  /** Whether it only asks for what is new to it (If-None-Match): without a stored answer that is upstream's to say. */
  readonly isConditional: boolean;
  /** Calls back when whoever asked no longer waits. */
  readonly whenGone: (listener: () => void) => void;
};

export type CacheResult =
  | { readonly kind: 'HIT' | 'MISS'; readonly answer: Answer }
  /** Upstream has to be asked by this client itself. */
  | { readonly kind: 'BYPASS' };

/** A write that has been announced; `end` is to be awaited before its answer is sent. */
export type AnnouncedWrite = { end(): Promise<void> };

export type CacheCounters = Record<
  'hit' | 'miss' | 'bypass' | 'store' | 'evict' | 'errors' | 'bytesServed',
  number
>;

/** Answers manifests and other small files from a store, and keeps what it answers from ever being older than a write. */
export type AnswerCache = {
  /** @throws OciError when upstream was asked and gave no answer. */
  answer(cacheable: Cacheable, request: SharedRequest): Promise<CacheResult>;
  announceWrite(written: Written): Promise<AnnouncedWrite>;
  readonly counters: Readonly<CacheCounters>;
  /** Nothing that is asked through it is stored any more: another one has taken its place. */
  retire(): void;
};

export type AnswerCacheOptions = {
  /** Shared by those that take each other's place, so that a write through one counts for all. */
  readonly store: CacheStore;
  /** Counted in; likewise. */
  readonly counters: CacheCounters;
  readonly maxEntryBytes: number;
  /** For large answers on their way from the store. */
  readonly room: LookupRoom;
  /** Fields that an answer may be stored with besides those that are known. */
  readonly storedFields: readonly string[];
  /** Asks upstream with GET. Gives null for an answer larger than `maxBytes`. @throws OciError when there is none. */
  readonly fetch: (
    request: SharedRequest,
    limits: { maxBytes: number; signal: AbortSignal },
  ) => Promise<Answer | null>;
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  readonly logger: Pick<Logger, 'warn'>;
};

/** One question to upstream, for everyone who waits for it. */
type Flight = {
  readonly ticket: Ticket;
  readonly askedAtMs: number;
  /** Null: not for sharing. */
  readonly answer: Promise<Answer | null>;
  readonly abandon: () => void;
  waiting: number;
};

/** What upstream is asked, by whoever asks first. */
type Question = {
  readonly request: SharedRequest;
  readonly asked: string;
  /** Whether who asks named the answer's type. */
  readonly accepts: (answer: Answer) => boolean;
};

/** What of a request tells one answer to an item from another. */
type Variant = {
  readonly accept: Accept;
  readonly variant: string;
  /** The same for the same Accept: one digest has one slot, and yet upstream may refuse it to one Accept and give it to another. */
  readonly asked: string;
};

/** What the texts of Accept and Host take that are remembered, in bytes; what is read of them takes a few times as much. */
const maxVariantBytes = 256 * 1024;
const maxVariantKeyLength = 4096;
/** How often a stored answer that is none is logged, in milliseconds. */
const damageLogMs = 10_000;

/** A question that has no answer for longer is not joined: another one may fare better. In milliseconds. */
const maxJoinMs = 5000;

/** Counters that begin with none. */
export function createCacheCounters(): CacheCounters {
  return { hit: 0, miss: 0, bypass: 0, store: 0, evict: 0, errors: 0, bytesServed: 0 };
}

export function createAnswerCache({
  store,
  counters,
  maxEntryBytes,
  room,
  storedFields,
  fetch,
  now,
  logger,
}: AnswerCacheOptions): AnswerCache {
  const flights = new Map<string, Flight>();
  /** The few Accept headers that a registry's clients send, read once. */
  const variants = new LRUCache<string, Variant>({
    maxSize: maxVariantBytes,
    sizeCalculation: (_variant, key) => key.length + 100,
  });
  const storable = createStorable(storedFields);
  let warnedOfField = false;
  let damageLoggedAtMs = -Infinity;
  /** The memory store gives the same bytes again and again; those that came over a network are new each time, and checked. */
  const decoded = new WeakMap<Buffer, Answer>();
  const share = createSharedAnswers();
  const lookUp = createLookups(store, room);
  let retired = false;

  const bypass = (): CacheResult => {
    counters.bypass += 1;
    return { kind: 'BYPASS' };
  };

  const readVariant = (kind: Cacheable['kind'], { host, accept: values }: SharedRequest): Variant => {
    // A line feed stands in none of them.
    const key = `${kind}\n${host ?? ''}\n${values.join('\n')}`;
    const known = variants.get(key);
    if (known) return known;
    const accept = parseAccept(values);
    const read = {
      accept,
      variant: hash([host?.toLowerCase() ?? '', kind === 'tag' ? accept.normalized : '']),
      asked: hash([accept.normalized]),
    };
    if (key.length <= maxVariantKeyLength) variants.set(key, read);
    return read;
  };

  /** What is given by a digest is compared with it, and what comes by a tag with the digest that it names. */
  const decodeOnce = (value: Buffer, cacheable: Cacheable): Answer | null => {
    const known = decoded.get(value);
    if (known) return known;
    const read = decodeEntry(value);
    if (read === null || !storable.couldBe(cacheable, read)) return null;
    const answer = share(value, read);
    decoded.set(value, answer);
    return answer;
  };

  const warnOfDamage = ({ scope, item }: Slot) => {
    if (now() - damageLoggedAtMs < damageLogMs) return;
    damageLoggedAtMs = now();
    logger.warn({ scope, item }, 'a cached answer was damaged: upstream is asked again');
  };

  const warnOfField = (field: string) => {
    if (warnedOfField) return;
    warnedOfField = true;
    logger.warn(
      { field: field.slice(0, 100) },
      'answers of the registry are not cached: they have a header field that is not in cache.headers',
    );
  };

  const answer: AnswerCache['answer'] = async (cacheable, request) => {
    const { accept, variant, asked } = readVariant(cacheable.kind, request);
    const slot: Slot = { scope: cacheable.scope, item: cacheable.item, variant };
    const accepts = ({ rawHeaders }: Answer) =>
      cacheable.kind === 'v1' || accept.names(headerValues(rawHeaders, 'content-type')[0] ?? '');
    const found = await lookUp(slot);
    if (found.kind === 'crowded') return bypass();
    if (found.kind === 'unavailable') {
      counters.errors += 1;
      return bypass();
    }
    if (found.kind === 'found') {
      const stored = decodeOnce(found.value, cacheable);
      if (stored && !accepts(stored)) return bypass();
      if (stored) {
        counters.hit += 1;
        counters.bytesServed += stored.body.length;
        return { kind: 'HIT', answer: stored };
      }
      counters.errors += 1;
      warnOfDamage(slot);
    }
    if (request.isConditional) return bypass();
    const fetched = await fetchOnce(cacheable, slot, found.ticket, { request, asked, accepts });
    if (fetched === null) return bypass();
    counters.miss += 1;
    return { kind: 'MISS', answer: fetched };
  };

  /**
   * Asks upstream once for all who ask now. Only a question of the same ticket may be joined: with another one, a write
   * has been acknowledged since it was asked, and its answer may be older.
   */
  const fetchOnce = (
    cacheable: Cacheable,
    slot: Slot,
    ticket: Ticket,
    question: Question,
  ): Promise<Answer | null> => {
    const key = JSON.stringify([slot, question.asked]);
    const underWay = flights.get(key);
    const joins = underWay?.ticket === ticket && now() - underWay.askedAtMs < maxJoinMs;
    const flight = joins ? underWay : startFetch(key, cacheable, slot, ticket, question);
    flight.waiting += 1;
    question.request.whenGone(() => {
      flight.waiting -= 1;
      if (flight.waiting === 0) flight.abandon();
    });
    return flight.answer;
  };

  const startFetch = (
    key: string,
    cacheable: Cacheable,
    slot: Slot,
    ticket: Ticket,
    { request, accepts }: Question,
  ): Flight => {
    const askedAtMs = now();
    const abandoning = new AbortController();
    const { signal } = abandoning;
    let filled: Promise<void> | undefined;
    const receive = (got: Answer | null): Answer | null => {
      if (got === null || !isShareable(got)) return null;
      const kept = !retired && accepts(got) ? storable.take(cacheable, got, warnOfField) : null;
      if (kept === null) return got;
      const stored = encodeEntry(kept);
      filled = fill(slot, ticket, stored, askedAtMs);
      // Those who wait now and those who find it stored are sent the same memory: the body is what an entry ends with.
      return share(stored, { ...kept, body: stored.subarray(stored.length - kept.body.length) });
    };
    const answer = fetch(request, { maxBytes: maxEntryBytes, signal }).then(receive, (error: unknown) => {
      if (signal.aborted) return null;
      throw error;
    });
    const land = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    const abandon = () => {
      land();
      abandoning.abort();
    };
    const flight: Flight = { ticket, askedAtMs, answer, abandon, waiting: 0 };
    flights.set(key, flight);
    // Until it is stored, who asks next would not find it there.
    void answer.then(() => filled).then(land, land);
    return flight;
  };

  const fill = async (slot: Slot, ticket: Ticket, entry: Buffer, askedAtMs: number) => {
    const { stored, evicted } = await store.fill(slot, ticket, entry, now() - askedAtMs);
    if (stored) counters.store += 1;
    counters.evict += evicted;
  };

  const announceWrite: AnswerCache['announceWrite'] = async (written) => {
    const change = { ...written, id: randomBytes(8).toString('hex') };
    if (!(await store.beginWrite(change))) counters.errors += 1;
    let ended: Promise<void> | undefined;
    return {
      end: () =>
        (ended ??= store.endWrite(change).then((isKnown) => {
          if (!isKnown) counters.errors += 1;
        })),
    };
  };

  const retire = () => {
    retired = true;
  };

  return { answer, announceWrite, counters, retire };
}

function hash(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
