import { isNameComponent, maxRepositoryNameLength } from '../registry/names/repository-name.ts';
import type { Principal, User } from '../registry/principal.ts';
import { parseGlob } from './glob.ts';

/** A pattern of repositories' names, in which `${user}` stands for the name of the user who asks. */
export type RepositoryPattern = {
  matches(repository: string, principal: Principal): boolean;
  /** Whether it can match anything for this one. */
  readonly canMatch: (principal: Principal) => boolean;
  /** Whether it matches every name. */
  readonly matchesAll: boolean;
  /** The first part of every name that it matches; null: not always the same. */
  readonly first: string | null;
  /** The last part, likewise. */
  readonly last: string | null;
};

const placeholder = '${user}';
/** What can stand in a name (distribution-spec, "Pulling manifests"), and what a pattern has besides. */
const characters = /^[a-z0-9._/*-]*$/;

/**
 * Compiles a pattern.
 * @throws RangeError with what is wrong with it, to be put behind it.
 */
export function parseRepositoryPattern(pattern: string): RepositoryPattern {
  const plain = pattern.replaceAll(placeholder, 'user');
  if (plain.length > maxRepositoryNameLength)
    throw new RangeError(
      `is longer than the ${maxRepositoryNameLength} characters of the longest repository's name`,
    );
  if (/[A-Z]/.test(plain)) throw new RangeError("can match nothing: repositories' names are in lower case");
  if (!characters.test(plain))
    throw new RangeError(
      `can match nothing: repositories' names have letters, digits, ".", "_", "-" and "/"; besides, there are "*", "**" and "${placeholder}"`,
    );
  const glob = parseGlob(plain);
  const parts = pattern.split('/').map((part) => (/[*$]/.test(part) ? null : part));
  const ends = { first: parts[0] ?? null, last: parts.at(-1) ?? null };
  if (plain === pattern)
    return {
      matches: (repository) => glob.matches(repository),
      canMatch: () => true,
      matchesAll: pattern === '**',
      ...ends,
    };
  const prefix = pattern.slice(0, pattern.search(/[*$]/));
  return {
    matches: (repository, principal) =>
      repository.startsWith(prefix) &&
      hasOwnNames(principal) &&
      parseGlob(pattern.replaceAll(placeholder, () => principal.name)).matches(repository),
    canMatch: hasOwnNames,
    matchesAll: false,
    ...ends,
  };
}

/** Whether names can have this one's in them. One that is no part of a repository's could be a pattern, or more than one part. */
function hasOwnNames(principal: Principal): principal is User {
  return principal.kind === 'user' && isNameComponent(principal.name);
}
