import { formatCatalogQuery, type CatalogPage, type CatalogQuery } from '../../../registry/lists/catalog.ts';
import { placeAfter, placeOf, textOfPlace, type Place } from '../../../registry/names/name-order.ts';
import { isRepositoryName } from '../../../registry/names/repository-name.ts';
import type { ListedRegistry } from '../../routes/listed-registries.ts';
import { namesLast, readPageSize, usualSize, type CatalogAnswer, type Refused } from './catalog.ts';
import type { PageCursors } from './page-cursors.ts';

/** Why a registry gave no page. */
export type Fault = { readonly fault: string };

/** A registry of whose repositories some may be missing. */
export type Unlisted = Fault & { readonly registry: ListedRegistry };

export type MergedCatalogOptions = {
  readonly registries: readonly ListedRegistry[];
  /** Fetches a page of a registry's own list. */
  readonly fetchPage: (registry: ListedRegistry, query: string) => Promise<CatalogPage | Refused | Fault>;
  /** Whether the client may see a repository. */
  readonly shows: (repository: string) => boolean;
  readonly cursors: PageCursors;
  /** The most pages of all registries together that are read for one page. */
  readonly maxPages: number;
};

/** What is read of one registry's list. */
type Reading = {
  readonly registry: ListedRegistry;
  /** The place from which its names are wanted. */
  readonly start: Place;
  /** What it may still have is at this place or behind it; null: there is nothing. */
  begin: Place | null;
  /** Whether its list has an order of its own: all of it is read, from its beginning. */
  isWhole: boolean;
  /** The query of the next part of a list that is read whole; null: its beginning. */
  next: string | null;
  readonly asked: Set<string>;
  /** The page size; null: it decides. */
  n: string | null;
  /** What to ask instead of `n` if it refuses that. */
  readonly smallerN: string | null;
};

/** The fault of a list in an order of its own of which only a part was read. */
export const tooLong = 'its list has an order of its own, and more than limits.catalogPages pages';
/** The fault of a registry that was not asked, since it failed a moment ago. */
export const paused = 'it failed a moment ago';
/** How many pages are requested at the same time. */
const maxAtOnce = 4;

/**
 * Builds one page of the visible repositories of all registries, in the order of docker-registry. A registry is asked
 * only for what can be on this page: one behind a prefix when the page reaches it.
 */
export async function collectMergedCatalog(
  asked: CatalogQuery,
  options: MergedCatalogOptions,
): Promise<(CatalogAnswer & { readonly unlisted: readonly Unlisted[] }) | Refused> {
  const { cursors, maxPages } = options;
  const { size, isUsual } = readPageSize(asked.n);
  const { start, wholes } = openPlace(asked.last, cursors);
  const readings = options.registries.map((registry) =>
    startReading(registry, start, wholes.has(nameRegistry(registry)), isUsual ? null : asked.n, asked.n),
  );
  const unlisted: Unlisted[] = [];
  /** The first places with a visible name: those of the page, and one more. */
  let known: Place[] = [];
  for (let pages = 0; ;) {
    const batch = chooseNext(readings, known[size] ?? null, { start, pagesLeft: maxPages - pages });
    if (batch.length === 0) break;
    const parts = await Promise.all(batch.map((reading) => readPart(reading, options)));
    pages += parts.filter((part) => !('fault' in part) || part.fault !== paused).length;
    for (const [i, part] of parts.entries()) {
      const reading = batch[i];
      if (reading === undefined) continue;
      if ('refused' in part && reading.registry.route === null) return part;
      if ('names' in part) {
        known = merge(known, takePart(reading, part, known[size] ?? null, options), size + 1);
        continue;
      }
      reading.begin = null;
      const fault = 'fault' in part ? part.fault : `it answered ${part.refused.status}`;
      unlisted.push({ registry: reading.registry, fault });
    }
    if (size === 0) return { names: [], size, last: null, unlisted };
  }

  const unread = readings.filter((reading) => reading.isWhole && isNeeded(reading, known[size] ?? null));
  for (const reading of unread) {
    reading.begin = null;
    unlisted.push({ registry: reading.registry, fault: tooLong });
  }
  const reached = leastOf(readings.map(({ begin }) => begin));
  const seen = reached === null ? known : known.filter((place) => place < reached);
  const names = seen.slice(0, size).map(textOfPlace);
  const lastName = names.at(-1) ?? '';
  const wholesNow = readings.filter(({ isWhole }) => isWhole).map(({ registry }) => nameRegistry(registry));
  const seal = (place: Place) => cursors.seal({ query: wholesNow.join(' '), after: textOfPlace(place) });
  if (seen.length > size)
    return { names, size, last: wholesNow.length === 0 ? lastName : seal(placeAfter(lastName)), unlisted };
  return { names, size, last: reached === null ? null : seal(reached), unlisted };
}

/** The place where the page begins, and the registries whose lists are read whole. */
function openPlace(last: string | null, cursors: PageCursors): { start: Place; wholes: Set<string> } {
  if (last === null) return { start: '', wholes: new Set() };
  const sealed = cursors.open(last);
  return sealed === null
    ? { start: placeAfter(last), wholes: new Set() }
    : { start: placeOf(sealed.after ?? ''), wholes: new Set(sealed.query.split(' ')) };
}

function startReading(
  registry: ListedRegistry,
  start: Place,
  isWhole: boolean,
  ownN: string | null,
  askedN: string | null,
): Reading {
  const isUpstream = registry.route === null;
  return {
    ...{ registry, start, isWhole },
    begin: registry.firstFrom(start),
    next: null,
    asked: new Set(),
    // Lets upstream refuse what it would refuse.
    n: (isUpstream ? ownN : null) ?? String(usualSize),
    smallerN: isUpstream ? askedN : null,
  };
}

/**
 * Chooses the readings that go on, at the same time: the first of those that may have a name on this page, and those
 * not begun that are certainly reached.
 * @param bound the place of the first name behind the page; null: it is not known
 */
function chooseNext(
  readings: readonly Reading[],
  bound: Place | null,
  { start, pagesLeft }: { start: Place; pagesLeft: number },
): Reading[] {
  const needed = readings
    .filter((reading) => isNeeded(reading, bound))
    .sort((one, other) => compare(one.begin, other.begin) || Number(one.isWhole) - Number(other.isWhole));
  // Else the next page would begin at the same place.
  if (pagesLeft <= 0)
    return needed.filter(({ isWhole, begin }) => !isWhole && (begin ?? '') <= start).slice(0, maxAtOnce);
  const begun = readings.filter(({ registry, asked }) => registry.route === null || asked.size > 0);
  const known = leastOf(begun.map(({ begin }) => begin));
  return needed
    .filter(
      (reading, i) =>
        i === 0 || (reading.asked.size === 0 && (known === null || (reading.begin ?? '') <= known)),
    )
    .slice(0, Math.min(pagesLeft, maxAtOnce));
}

/** Whether it may still have a name on the page. */
function isNeeded({ begin }: Reading, bound: Place | null): boolean {
  return begin !== null && (bound === null || begin <= bound);
}

async function readPart(reading: Reading, { fetchPage }: MergedCatalogOptions) {
  const { registry, asked } = reading;
  const isFirst = asked.size === 0;
  const fetchPart = () => {
    const query = queryOf(reading);
    asked.add(query);
    return fetchPage(registry, query);
  };
  const part = await fetchPart();
  if (!isFirst || !('refused' in part) || part.refused.status !== 400 || reading.n === reading.smallerN)
    return part;
  reading.n = reading.smallerN;
  return fetchPart();
}

function queryOf({ registry, isWhole, begin, next, n }: Reading): string {
  return next ?? formatCatalogQuery({ n, last: isWhole ? null : registry.lastBefore(begin ?? '') });
}

/** Notes how far the list is read now, and returns the places of what is visible in this part of it. */
function takePart(
  reading: Reading,
  { names, next }: CatalogPage,
  bound: Place | null,
  { shows }: MergedCatalogOptions,
): Place[] {
  const { registry, start } = reading;
  const outerNames = names.map((name) => registry.outerName(name)).filter(isRepositoryName);
  noteProgress(reading, outerNames, next);
  return outerNames.flatMap((name) => {
    const place = placeOf(name);
    const isWanted = place >= start && (bound === null || place < bound);
    return isWanted && registry.owns(name) && shows(name) ? [place] : [];
  });
}

function noteProgress(reading: Reading, outerNames: readonly string[], next: string | null): void {
  const { registry, start, begin, asked } = reading;
  if (!reading.isWhole && isRising(outerNames, begin ?? '')) {
    const lastName = outerNames.at(-1);
    if (next === null || (lastName !== undefined && namesLast(next))) {
      reading.begin = next === null ? null : registry.firstFrom(placeAfter(lastName ?? ''));
      return;
    }
  }
  const isRestarted = !reading.isWhole && registry.lastBefore(begin ?? '') !== null;
  reading.isWhole = true;
  reading.begin = registry.firstFrom(start);
  if (isRestarted) {
    asked.clear();
    reading.next = null;
  } else if (next === null || asked.has(next)) reading.begin = null;
  else reading.next = next;
}

/** Whether each name is behind the one before it, and all are at a place or behind it. */
function isRising(names: readonly string[], first: Place): boolean {
  let from = first;
  for (const name of names) {
    if (placeOf(name) < from) return false;
    from = placeAfter(name);
  }
  return true;
}

/** The first places of both, each once. */
function merge(one: readonly Place[], other: readonly Place[], count: number): Place[] {
  return [...new Set([...one, ...other])].sort(compare).slice(0, count);
}

function leastOf(places: readonly (Place | null)[]): Place | null {
  return places.filter((place) => place !== null).sort(compare)[0] ?? null;
}

function compare(one: Place | null, other: Place | null): number {
  if (one === other) return 0;
  return (one ?? '') < (other ?? '') ? -1 : 1;
}

/** No route has this name. */
function nameRegistry({ route }: ListedRegistry): string {
  return route ?? '.';
}
