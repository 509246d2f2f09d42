import type { IncomingMessage } from 'node:http';
import { createBodyObserver } from './body-observer.ts';

/** A manifest that is observed while it is pushed. */
export type ObservedManifest = {
  bytes(): number;
  /** Call it once, when all of it has passed. */
  read(): PushedImage;
  /** Forgets what is kept of it. */
  drop(): void;
};

/** What the bytes of a manifest tell: little when it is too large, or not a manifest. */
export type PushedImage = {
  readonly digest: string;
  /** The total size of its configuration and layers; null if it does not say, as for an index. */
  readonly imageBytes: number | null;
  /** The image that a tag of the first registry protocol is set to. */
  readonly imageId: string | null;
};

/** Begins to observe a manifest, when `ObserveBody` may begin. */
export type ObserveManifest = (req: IncomingMessage) => ObservedManifest;

/** The largest manifest that is kept and parsed, in bytes; of a larger one only the digest is known. */
const maxReadBytes = 1024 * 1024;

/** @param options maxKeptBytes: how much is kept of all manifests together; of those beyond it only the digest is known */
export function createManifestObserver({ maxKeptBytes }: { readonly maxKeptBytes: number }): ObserveManifest {
  const observe = createBodyObserver({ maxBytes: maxReadBytes, maxKeptBytes });
  return (req) => {
    const body = observe(req);
    return {
      bytes: () => body.bytes(),
      read: () => ({ digest: body.digest(), ...parsePushed(body.read()?.toString() ?? '') }),
      drop: () => body.drop(),
    };
  };
}

/** Reads a manifest, or the body of a v1 tag, which is an image's id as a JSON text. */
export function parsePushed(text: string): Omit<PushedImage, 'digest'> {
  const nothing = { imageBytes: null, imageId: null };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return nothing;
  }
  if (typeof value === 'string') return { ...nothing, imageId: /^[0-9a-f]{64}$/.test(value) ? value : null };
  if (typeof value !== 'object' || value === null) return nothing;
  const { config, layers } = value as { config?: unknown; layers?: unknown };
  return {
    ...nothing,
    imageBytes: Array.isArray(layers) ? sumSizes([config, ...(layers as unknown[])]) : null,
  };
}

/** The sum of the sizes of descriptors (image-spec, "Content Descriptors"); null when one has none. */
function sumSizes(descriptors: readonly unknown[]): number | null {
  let sum = 0;
  for (const descriptor of descriptors) {
    const size = (descriptor as { size?: unknown } | null | undefined)?.size;
    if (!Number.isSafeInteger(size) || Number(size) < 0) return null;
    sum += Number(size);
  }
  return Number.isSafeInteger(sum) ? sum : null;
}
