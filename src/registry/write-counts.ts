/** A write counts when it begins, and when it is over: so often. */
export const countsOfWrite = 2;

/** The counter of those writes in a repository of which no digest tells what they are about: deletes, above all. */
export function untracedKey(repository: string): string {
  return `${repository} untraced`;
}
