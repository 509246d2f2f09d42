import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { parseAccept, type Accept } from './accept.ts';
import type { Cacheable } from './cacheable.ts';

/** What in a request tells the answers to one item apart. */
export type Variant = {
  readonly accept: Accept;
  /** The part of the slot. */
  readonly variant: string;
  /** Equal for equal Accept: a digest has one slot, and yet upstream may refuse it to one Accept and give it to another. */
  readonly acceptHash: string;
};

/** What the texts of Accept and Host may take that are remembered, in bytes; what is read of them takes a few times as much. */
const maxVariantBytes = 256 * 1024;
const maxVariantKeyLength = 4096;

/** Reads the few Accept headers that a registry's clients send once each. */
export function createVariantReader(): (
  kind: Cacheable['kind'],
  request: { readonly host: string | null; readonly accept: readonly string[] },
) => Variant {
  const variants = new LRUCache<string, Variant>({
    maxSize: maxVariantBytes,
    sizeCalculation: (_variant, key) => key.length + 100,
  });
  return (kind, { host, accept: values }) => {
    // A line feed stands in none of them.
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
