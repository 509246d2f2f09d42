import { createHash } from 'node:crypto';
import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import type { Cacheable } from './cacheable.ts';
import type { Answer } from './entry.ts';

/**
 * The header fields with which an answer may be stored and served: those that registries and the servers before them
 * send with a manifest, and those that operators set for browsers. None sets a cookie, redirects, or changes the
 * meaning of the body.
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
/**
 * Fields that registries and operators define. Clients ignore them, except v1's token and endpoints; servers in front
 * ignore them, except these.
 */
const ownFields =
  /^x-(?!docker-(?:token|endpoints)$|accel-|sendfile|reproxy|lighttpd-|litespeed-|cache$)[a-z0-9-]+$/;
/** Hop-by-hop fields, which are not stored. */
const hopFields: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding']);
const plainConnection = /^(?:keep-alive|close)$/i;

/** Decides what may be stored, and whether a stored answer is plausible. */
export type Storable = {
  /**
   * Returns the part of an answer that is stored; null: it is not cached. `onOtherField` gets the field that is the
   * only reason.
   */
  take(cacheable: Cacheable, answer: Answer, onOtherField: (name: string) => void): Answer | null;
  /** Whether {@link Storable.take} could have returned it: others may have written to the store. */
  couldBe(cacheable: Cacheable, answer: Answer): boolean;
};

/** @param furtherFields names of additional fields, in any case, with which an answer may be stored */
export function createStorable(furtherFields: readonly string[]): Storable {
  const further = new Set(furtherFields.map((name) => name.toLowerCase()));
  const isStored = (name: string) => storedFields.has(name) || ownFields.test(name) || further.has(name);

  /** Finds a field that is not stored, or a second Content-Type; null for none. */
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
      // It may name more hop-by-hop fields.
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

/** Whether the body has the requested digest, and every digest that its head names. */
export function hasItsDigests(
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
