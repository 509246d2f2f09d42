/**
 * A place in a list of repositories: names at it or behind it follow. Places compare as texts, in the order of
 * docker-registry: part by part, so that `a/b` is before `a-b`.
 */
export type Place = string;

/** The place of a name, or of the beginning of names. */
export function placeOf(text: string): Place {
  return text.replaceAll('/', '\0');
}

/** The first place behind that of a name. */
export function placeAfter(name: string): Place {
  return `${placeOf(name)}\0`;
}

/** The reverse of {@link placeOf}. */
export function textOfPlace(place: Place): string {
  return place.replaceAll('\0', '/');
}
