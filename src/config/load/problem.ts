/** A problem of the configuration, and its place. */
export type Problem = {
  /** `file:line`, the name of an environment variable, or a flag. */
  readonly place: string;
  /** The key's path, such as `upstream.url`; absent when the problem is not about one key. */
  readonly key?: string;
  readonly wrong: string;
  readonly allowed?: string;
};

/** `place: key: what is wrong; allowed: …` */
export function formatProblem({ place, key, wrong, allowed }: Problem): string {
  const subject = key === undefined ? '' : `${key}: `;
  return `${place}: ${subject}${wrong}${allowed === undefined ? '' : `; allowed: ${allowed}`}`;
}
