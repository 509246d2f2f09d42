import type { BlobName } from '../oci/route.ts';
import { headerValues, type RawHeaders } from '../oci/raw-headers.ts';
import type { FilePart } from '../storage/file-transfer.ts';

/** What the registry says to a HEAD, as far as it matters here. */
export type Head = { readonly status: number; readonly rawHeaders: RawHeaders };

const oneRange = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/**
 * Reads from the registry's own head which bytes of the blob its answer to a GET would have: all, or one range. Null: any other answer, or one that does not
 * fit the file.
 */
export function findPromisedPart(
  { status, rawHeaders }: Head,
  { algorithm, hex }: BlobName,
  sizeBytes: number,
): FilePart | null {
  const only = (name: string): string | null => {
    const values = headerValues(rawHeaders, name);
    return values.length === 1 ? (values[0] ?? null) : null;
  };
  const has = (name: string) => headerValues(rawHeaders, name).length > 0;
  if (only('docker-content-digest') !== `${algorithm}:${hex}`) return null;
  if (has('content-encoding') || has('transfer-encoding')) return null;
  const length = only('content-length');
  if (status === 200)
    return length === String(sizeBytes) && !has('content-range')
      ? { start: 0, lengthBytes: sizeBytes }
      : null;
  if (status !== 206) return null;
  const [, first, last, size] = oneRange.exec(only('content-range') ?? '') ?? [];
  const lengthBytes = Number(last) - Number(first) + 1;
  const fits = size === String(sizeBytes) && Number(last) < sizeBytes && lengthBytes > 0;
  return fits && length === String(lengthBytes) ? { start: Number(first), lengthBytes } : null;
}
