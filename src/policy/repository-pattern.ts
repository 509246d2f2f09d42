import { isNameComponent, maxRepositoryNameLength } from '../registry/names/repository-name.ts';
import { anonymous, type Principal, type User } from '../registry/principal.ts';
import { parseGlob } from './glob.ts';

/** A pattern of repository names; `${user}` stands for the user's name. */
export type RepositoryPattern = {
  matches(repository: string, principal: Principal): boolean;
  /** Whether it can match anything for this principal. */
  readonly canMatch: (principal: Principal) => boolean;
  /** Whether it matches every name. */
  readonly matchesAll: boolean;
  /** The first segment of every name that it matches; null: it varies. */
  readonly first: string | null;
  /** The last segment, likewise. */
  readonly last: string | null;
};

const placeholder = '${user}';
/** The characters of a name (distribution-spec, "Pulling manifests"), and those of a pattern. */
const characters = /^[a-z0-9._/*-]*$/;

/**
 * Compiles a pattern.
 * @throws RangeError that says what is wrong, as the rest of a sentence.
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

/** Whether the wider pattern certainly matches everything that the other matches, for the same principal. */
export function isPatternWithin(pattern: string, wider: string): boolean {
  if (wider === '**' || wider === pattern) return true;
  const prefix = wider.slice(0, Math.max(0, wider.indexOf('*')));
  if (wider === `${prefix}**`) return pattern.length > prefix.length && pattern.startsWith(prefix);
  // A pattern without stars is one name.
  const isOneName = !/[*$]/.test(pattern);
  return isOneName && !wider.includes('$') && parseRepositoryPattern(wider).matches(pattern, anonymous);
}

/**
 * Whether a repository's name can contain the user's. A name that cannot be one segment could act as a pattern, or as
 * several segments.
 */
function hasOwnNames(principal: Principal): principal is User {
  return principal.kind === 'user' && isNameComponent(principal.name);
}
