import { anonymous } from '../registry/principal.ts';
import { parseGlob, type Glob } from './glob.ts';
import { parseRepositoryPattern } from './repository-pattern.ts';

/** A pattern of immutable tags: a pattern of repositories, a colon, and a pattern of tags. */
export type TagPattern = {
  matches(repository: string, tag: string): boolean;
  /** Whether the repository can have such a tag. */
  matchesRepository(repository: string): boolean;
};

/**
 * Compiles a pattern of tags such as `team/**:v*`.
 * @throws RangeError that says what is wrong, as the rest of a sentence.
 */
export function parseTagPattern(pattern: string): TagPattern {
  const colon = pattern.indexOf(':');
  if (colon === -1) throw new RangeError('has no colon: write REPOSITORIES:TAGS, such as "**:v*"');
  const tagPattern = pattern.slice(colon + 1);
  if (!isTagGlob(tagPattern))
    throw new RangeError(`has no pattern of tags after its colon: ${tagCharacters}`);
  if (pattern.includes('$')) throw new RangeError('cannot have "${user}": it holds for everyone');
  const repositories = parseRepositoryPattern(pattern.slice(0, colon));
  const tags = parseGlob(tagPattern);
  const matchesRepository = (repository: string) => repositories.matches(repository, anonymous);
  return {
    matches: (repository, tag) => matchesRepository(repository) && tags.matches(tag),
    matchesRepository,
  };
}

/**
 * Compiles a pattern of tags alone, such as `v*`.
 * @throws RangeError that says what is wrong, as the rest of a sentence.
 */
export function parseTagGlob(pattern: string): Glob {
  if (!isTagGlob(pattern)) throw new RangeError(`is no pattern of tags: ${tagCharacters}`);
  return parseGlob(pattern);
}

const tagCharacters = 'letters, digits, ".", "_", "-" and "*"';

function isTagGlob(pattern: string): boolean {
  return /^[A-Za-z0-9._*-]{1,128}$/.test(pattern) && !pattern.includes('**');
}
