import { parseQuery } from './query.ts';
import { isRepositoryName } from './names/repository-name.ts';
import type { CanonicalTarget } from './target.ts';

/**
 * The request of an upload's start to mount a blob from another repository (distribution-spec, "Mounting a blob from
 * another repository").
 */
export type Mount = {
  /** The other repository; null: none, or not one that every reader would agree on. */
  readonly from: string | null;
  /** The same request target without the mount: upstream answers 202 to it, and the client uploads the blob. */
  readonly rawTargetWithout: string;
};

/** Reads the mount in the query of an upload's start; null where there is none. */
export function parseMount(target: CanonicalTarget): Mount | null {
  const { raw, rawPath } = target;
  const fields = parseQuery(target);
  const others = fields.filter(({ name }) => name !== 'mount' && name !== 'from');
  if (others.length === fields.length) return null;
  const valuesOf = (wanted: string) => fields.filter(({ name }) => name === wanted).map(({ value }) => value);
  const [from, ...furtherFrom] = valuesOf('from');
  const isPlain = !raw.includes(';') && valuesOf('mount').length === 1 && furtherFrom.length === 0;
  const query = others.map(({ text }) => text).join('&');
  return {
    from: isPlain && from !== undefined ? from : null,
    rawTargetWithout: query === '' ? rawPath : `${rawPath}?${query}`,
  };
}

/**
 * The target that is forwarded where no policy decides on mounts: without a source that is not a repository's name,
 * which registries ignore.
 */
export function withoutOddSource(method: string, target: CanonicalTarget): string {
  if (method !== 'POST' || target.raw === target.rawPath) return target.raw;
  const isOdd = parseQuery(target).some(({ name, value }) => name === 'from' && !isRepositoryName(value));
  return isOdd ? (parseMount(target)?.rawTargetWithout ?? target.raw) : target.raw;
}
