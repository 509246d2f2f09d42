/**
 * The manifest that stands for a deleted tag at a registry which deletes digests only: the tag is moved to it, and then
 * its digest is deleted, which takes that tag and no other. It is an index of no images (image-spec, "Image Index":
 * the list may be empty), and unique, since whatever shared its digest would go with it.
 */
export type Tombstone = { readonly digest: string; readonly body: Buffer };

export const tombstoneType = 'application/vnd.oci.image.index.v1+json';

/** With it, one manifest in 65,536 has to be read to be told from a tombstone. */
const digestStart = 'sha256:dead';
const before = `{"schemaVersion":2,"mediaType":"${tombstoneType}","manifests":[],"annotations":{"tidegate.tombstone":"`;
const after = '"}}';
const nonceLength = 40;
const nonceForm = new RegExp(`^[0-9a-f]{${nonceLength}}$`);
/** The size of all of them. */
export const tombstoneBytes = before.length + nonceLength + after.length;

/** @param nonce 40 hexadecimal digits, never used before */
export function writeTombstone(nonce: string): string {
  return before + nonce + after;
}

/** Whether a manifest of this digest may be a tombstone: then its content decides. */
export function mayBeTombstone(digest: string | null): digest is string {
  return digest?.startsWith(digestStart) === true;
}

export function isTombstone(body: Buffer): boolean {
  const text = body.toString('latin1');
  const nonce = text.slice(before.length, -after.length);
  return nonceForm.test(nonce) && text === writeTombstone(nonce);
}
