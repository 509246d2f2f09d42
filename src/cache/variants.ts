import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { parseAccept, type Accept } from './accept.ts';
import type { Cacheable } from './cacheable.ts';

/** The part of a request that selects between the answers to one item. */
export type Variant = {
  readonly accept: Accept;
  /** The part of the slot. */
  readonly variant: string;
  /** Equal for equal Accept. A digest has one slot, yet upstream may refuse it for one Accept and serve it for another. */
  readonly acceptHash: string;
};

/** The most bytes of remembered Accept and Host texts; their parsed form takes a few times as much. */
const maxVariantBytes = 256 * 1024;
const maxVariantKeyLength = 4096;

/** Parses Accept headers, of which registry clients send few different ones, once each. */
export function createVariantReader(): (
  kind: Cacheable['kind'],
  request: { readonly host: string | null; readonly accept: readonly string[] },
) => Variant {
  const variants = new LRUCache<string, Variant>({
    maxSize: maxVariantBytes,
    sizeCalculation: (_variant, key) => key.length + 100,
  });
  return (kind, { host, accept: values }) => {
    // None of them can hold a line feed.
    const key = `${kind}\n${host ?? ''}\n${values.join('\n')}`;
    const known = variants.get(key);
    if (known) return known;
    const accept = parseAccept(values);
    const read = {
      accept,
      variant: hash([host?.toLowerCase() ?? '', kind === 'tag' ? accept.normalized : '']),
      acceptHash: hash([accept.normalized]),
    };
    if (key.length <= maxVariantKeyLength) variants.set(key, read);
    return read;
  };
}

function hash(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
