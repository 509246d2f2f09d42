import { isRepositoryName } from '../registry/names/repository-name.ts';
import { tagForm } from '../registry/names/tag.ts';
import { anonymous, principalText, type Principal } from '../registry/principal.ts';
import type { PolicyAction } from './policy.ts';

/** What somebody wants to know of a policy. */
export type PolicyQuery = {
  readonly principal: Principal;
  readonly action: PolicyAction;
  readonly repository: string;
  /** Null: none in particular. */
  readonly tag: string | null;
};

/**
 * Reads one who may ask, as commands and tables name them: `anonymous`, a user's name, or `user:NAME` for one whose name is a
 * word of the rules. No name has a colon, so that it cannot be mistaken.
 *
 * @throws RangeError with what is wrong with it, to be put behind it
 */
export function parsePrincipal(text: string): Principal {
  if (text === 'anonymous') return anonymous;
  if (text === 'authenticated' || text.startsWith('group:'))
    throw new RangeError('is nobody in particular: name a user, or write anonymous');
  const name = text.replace(/^user:/, '');
  if (!/^[^:\p{Cc}]{1,255}$/u.test(name))
    throw new RangeError('is not the name of a user: write anonymous, a name, or user:NAME');
  return { kind: 'user', name };
}

/** Checks a repository's name. @throws RangeError with what is wrong with it, to be put behind it */
export function parseRepository(text: string): string {
  if (!isRepositoryName(text))
    throw new RangeError(
      'is not the name of a repository: lower case, parts with "/" between, as in team/app',
    );
  return text;
}

/** Checks a tag. @throws RangeError with what is wrong with it, to be put behind it */
export function parseTag(text: string): string {
  if (!tagForm.test(text))
    throw new RangeError('is not a tag: letters, digits, ".", "_" and "-", 128 at most');
  return text;
}

/** Who asks, in a sentence. */
export function describePrincipal(principal: Principal): string {
  return principalText(principal) ?? 'a client without credentials';
}
