import { createHash } from 'node:crypto';
import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import type { Cacheable } from './cacheable.ts';
import type { Answer } from './entry.ts';

/**
 * The fields with which an answer may be stored, and read again: what registries and the servers before them send with a manifest, and what
 * their operators set for browsers. None of them sets a cookie, leads elsewhere, or changes what the body means.
 */
const storedFields: ReadonlySet<string> = new Set([
  ...['content-type', 'content-length', 'etag', 'last-modified', 'date', 'expires', 'cache-control', 'vary'],
  ...['accept-ranges', 'content-disposition', 'link', 'server', 'via', 'pragma', 'warning', 'age'],
  ...['docker-content-digest', 'docker-distribution-api-version', 'oci-subject', 'oci-tag'],
  ...['content-security-policy', 'referrer-policy', 'permissions-policy'],
  ...['strict-transport-security', 'cross-origin-resource-policy', 'cross-origin-opener-policy'],
  ...['access-control-allow-origin', 'access-control-allow-methods', 'access-control-allow-headers'],
  ...['access-control-allow-credentials', 'access-control-expose-headers', 'access-control-max-age'],
]);
/** Fields that registries name themselves, and operators: clients act on none of them, but for v1's token and endpoints; nor do servers in front, but for these. */
const ownFields =
  /^x-(?!docker-(?:token|endpoints)$|accel-|sendfile|reproxy|lighttpd-|litespeed-|cache$)[a-z0-9-]+$/;
/** They end at each hop, and are not stored. */
const hopFields: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding']);
const plainConnection = /^(?:keep-alive|close)$/i;

/** Decides what may be stored, and whether what is read could have been. */
export type Storable = {
  /** What of an answer is stored; null: it has to be upstream's each time. `onOtherField` hears of the field that alone is why. */
  take(cacheable: Cacheable, answer: Answer, onOtherField: (name: string) => void): Answer | null;
  /** Whether {@link Storable.take} could have given it: all that is in a store may be somebody else's. */
  couldBe(cacheable: Cacheable, answer: Answer): boolean;
};

/** @param furtherFields names of fields, in upper or lower case, that an answer may be stored with besides those that are known */
export function createStorable(furtherFields: readonly string[]): Storable {
  const further = new Set(furtherFields.map((name) => name.toLowerCase()));
  const isStored = (name: string) => storedFields.has(name) || ownFields.test(name) || further.has(name);

  /** A field that is not stored, or a Content-Type too many; null for none. */
  const findOtherField = (rawHeaders: RawHeaders): string | null => {
    const other = rawHeaders.find((name, i) => i % 2 === 0 && !isStored(name.toLowerCase()));
    return other ?? (headerValues(rawHeaders, 'content-type').length > 1 ? 'Content-Type' : null);
  };

  return {
    take: (cacheable, answer, onOtherField) => {
      const { status, rawHeaders } = answer;
      if (status !== 200 || has(rawHeaders, 'content-encoding', 'content-range')) return null;
      if (/\bno-(store|cache)\b/i.test(headerValues(rawHeaders, 'cache-control').join())) return null;
      if (!hasItsDigests(cacheable, answer)) return null;
      // It may name further fields that end here.
      if (!headerValues(rawHeaders, 'connection').every((value) => plainConnection.test(value))) return null;
      const kept = rawHeaders.filter((_, i, all) => !hopFields.has((all[i - (i % 2)] ?? '').toLowerCase()));
      const other = findOtherField(kept);
      if (other === null) return { ...answer, rawHeaders: kept };
      onOtherField(other);
      return null;
    },
    couldBe: (cacheable, answer) =>
      findOtherField(answer.rawHeaders) === null && hasItsDigests(cacheable, answer),
  };
}

/** Whether the body is what its digest says: the one that it was asked by, and each that is named with it. */
function hasItsDigests(
  cacheable: Cacheable,
  { rawHeaders, body }: Pick<Answer, 'rawHeaders' | 'body'>,
): boolean {
  if (cacheable.kind === 'v1') return true;
  const named = headerValues(rawHeaders, 'docker-content-digest');
  const digests = new Set(cacheable.kind === 'digest' ? [...named, cacheable.item] : named);
  return digests.size > 0 && [...digests].every((digest) => matchesDigest(body, digest));
}

function matchesDigest(body: Buffer, digest: string): boolean {
  const [algorithm = '', hex] = digest.split(':');
  return ['sha256', 'sha512'].includes(algorithm) && createHash(algorithm).update(body).digest('hex') === hex;
}

function has(rawHeaders: RawHeaders, ...names: string[]): boolean {
  return names.some((name) => headerValues(rawHeaders, name).length > 0);
}
