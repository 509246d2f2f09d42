import { placeOf, textOfPlace, type Place } from '../../registry/names/name-order.ts';
import type { RequestUpstream } from '../../upstream/request.ts';
import { createInnerNames } from './inner-names.ts';
import type { Route, RouteTable } from './route-table.ts';

/** A registry whose repositories are in the list of all. */
export type ListedRegistry = {
  /** The name of its route; null: it is `upstream`. */
  readonly route: string | null;
  readonly requestUpstream: RequestUpstream;
  /** A whole Authorization value for it; null for none. */
  readonly authorization: string | null;
  /** Whether it holds what was pulled through it, and asks another registry about the rest. */
  readonly isMirror: boolean;
  /** Whether it answers for a repository, by its outer name. */
  owns(outer: string): boolean;
  outerName(inner: string): string;
  /** The first place, from this one on, at which it may have a name; null: there is none. */
  firstFrom(place: Place): Place | null;
  /** The `last` behind which it lists what is at this place and behind it; null: from the beginning. */
  lastBefore(place: Place): string | null;
};

type Asked = Pick<ListedRegistry, 'requestUpstream' | 'authorization'>;

/** @param route null: `upstream`, which may have any name */
export function createListedRegistry(
  table: RouteTable,
  route: Route | null,
  { requestUpstream, authorization }: Asked,
): ListedRegistry {
  const prefix = route?.stripPrefix ?? null;
  const names = createInnerNames(prefix);
  const firstInner = prefix === null ? '' : placeOf(`${prefix}/`);
  const ranges = route?.repositories.map(rangeOf);
  return {
    route: route?.name ?? null,
    ...{ requestUpstream, authorization },
    isMirror: route?.readOnly ?? false,
    owns: (outer) => table.find(outer) === route,
    outerName: (inner) => names.outerRepository(inner),
    firstFrom: (place) => {
      if (ranges === undefined) return place;
      const places = ranges.flatMap(({ first, isOneName }) => {
        if (place <= first) return [first];
        return !isOneName && place.startsWith(first) ? [place] : [];
      });
      return places.sort()[0] ?? null;
    },
    lastBefore: (place) => (place > firstInner ? lastBefore(place.slice(firstInner.length)) : null),
  };
}

/** The greatest text before a place, among those with which a name can be compared. */
function lastBefore(place: Place): string | null {
  if (place === '') return null;
  const all = place.slice(0, -1);
  const end = place.charAt(all.length);
  if (end === '\0') return textOfPlace(all);
  // The character before "0" is the slash. "~" is behind every character of a name.
  const before = end === '0' ? '.' : String.fromCharCode(end.charCodeAt(0) - 1);
  return textOfPlace(`${all}${before}~`);
}

/** Where the names that a pattern matches begin. */
function rangeOf(pattern: string): { first: Place; isOneName: boolean } {
  const star = pattern.indexOf('*');
  return star === -1
    ? { first: placeOf(pattern), isOneName: true }
    : { first: placeOf(pattern.slice(0, star)), isOneName: false };
}
