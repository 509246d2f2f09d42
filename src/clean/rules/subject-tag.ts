/**
 * The manifest to which a tag belongs by its name: signatures and attestations of cosign (`sha256-HEX.sig`), and lists of
 * referrers (distribution-spec, "Referrers Tag Schema", which cuts long digests off).
 *
 * @returns the digest, or its beginning of {@link subjectLength} characters; null: it is a tag like any other
 */
export function subjectOfTag(tag: string): string | null {
  const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]{64})/.exec(tag) ?? [];
  return algorithm === undefined ? null : `${algorithm}:${hex}`;
}

/** The characters of a digest that such a tag has. */
export const subjectLength = 'sha256:'.length + 64;
