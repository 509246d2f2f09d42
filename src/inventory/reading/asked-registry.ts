import type { Fetched } from '../../upstream/request.ts';

/** A registry that is asked by outer names, without a client's credentials. */
export type AskedRegistry = {
  /** Null: the answer has more than `maxBytes`. @throws Error when there is no answer */
  ask(method: 'GET' | 'HEAD', rawTarget: string, maxBytes: number): Promise<Fetched | null>;
  /** Whether it holds what was pulled through it, and asks another about the rest. */
  readonly isMirror: boolean;
  /** Whether it answers for a repository, by its outer name. */
  owns(outer: string): boolean;
  outerName(inner: string): string;
};
