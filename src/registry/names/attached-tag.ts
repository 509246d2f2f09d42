/**
 * A digest as it stands in the tags that hold what is about it, a signature for example: of cosign, and of the distribution-spec's
 * "Referrers Tag Schema".
 */
const attachedForm = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})(?:\.[a-z].*)?$/;

/** Whether a tag holds what is about another manifest. */
export function isAttachedTag(tag: string): boolean {
  return attachedForm.test(tag);
}

/** The same for SQLite: each such tag, and no other, fits one of these patterns of GLOB. */
export const attachedTagGlobs: readonly string[] = [
  ['sha256-', 64] as const,
  ['sha512-', 128] as const,
].flatMap(([algorithm, digits]) => {
  const digest = algorithm + '[0-9a-f]'.repeat(digits);
  return [digest, `${digest}.[a-z]*`];
});
