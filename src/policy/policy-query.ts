import { isRepositoryName } from '../registry/names/repository-name.ts';
import { tagForm } from '../registry/names/tag.ts';
import { anonymous, principalText, type Principal } from '../registry/principal.ts';
import type { PolicyAction } from './policy.ts';

/** A query of a policy: may this principal do this? */
export type PolicyQuery = {
  readonly principal: Principal;
  readonly action: PolicyAction;
  readonly repository: string;
  /** Null: no particular tag. */
  readonly tag: string | null;
};

/**
 * Parses a principal as commands and tables write it: `anonymous`, a user's name, or `user:NAME` for a user whose name
 * is a keyword of the rules. No name has a colon, so this is unambiguous.
 *
 * @throws RangeError that says what is wrong, as the rest of a sentence that begins with the text
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

/** Checks a repository's name. @throws RangeError that says what is wrong, as the rest of a sentence */
export function parseRepository(text: string): string {
  if (!isRepositoryName(text))
    throw new RangeError(
      'is not the name of a repository: lower case, parts with "/" between, as in team/app',
    );
  return text;
}

/** Checks a tag. @throws RangeError that says what is wrong, as the rest of a sentence */
export function parseTag(text: string): string {
  if (!tagForm.test(text))
    throw new RangeError('is not a tag: letters, digits, ".", "_" and "-", 128 at most');
  return text;
}

/** Names the principal in a sentence. */
export function describePrincipal(principal: Principal): string {
  return principalText(principal) ?? 'a client without credentials';
}
