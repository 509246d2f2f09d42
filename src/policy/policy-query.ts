import { isAddress } from '../http/network.ts';
import { isRepositoryName } from '../registry/names/repository-name.ts';
import { tagForm } from '../registry/names/tag.ts';
import { tokenNameForm } from '../registry/names/token-name.ts';
import { anonymous, principalText, type Principal, type TokenGrant } from '../registry/principal.ts';
import type { PolicyAction } from './decision.ts';

/** A query of a policy: may this principal do this? */
export type PolicyQuery = {
  readonly principal: Principal;
  readonly action: PolicyAction;
  readonly repository: string;
  /** Null: no particular tag. */
  readonly tag: string | null;
};

/**
 * Parses a principal as commands and tables write it: `anonymous`, a user's name, `user:NAME` for a user whose name
 * is a keyword of the rules, or `token:NAME`. No name has a colon, so this is unambiguous. A machine token is bounded by
 * the rules alone until {@link grantToken} says more.
 *
 * @throws RangeError that says what is wrong, as the rest of a sentence that begins with the text
 */
export function parsePrincipal(text: string): Principal {
  if (text === 'anonymous') return anonymous;
  if (text === 'authenticated' || text.startsWith('group:'))
    throw new RangeError('is nobody in particular: name a user, or write anonymous');
  if (text.startsWith('token:')) {
    const token = text.slice('token:'.length);
    if (!tokenNameForm.test(token)) throw new RangeError('is not the name of a machine token');
    return { kind: 'token', name: token, grant: unbounded };
  }
  const name = text.replace(/^user:/, '');
  if (!/^[^:\p{Cc}]{1,255}$/u.test(name))
    throw new RangeError('is not the name of a user: write anonymous, a name, user:NAME or token:NAME');
  return { kind: 'user', name };
}

/** What machine tokens are bounded by, by name. */
export type TokenGrants = ReadonlyMap<string, TokenGrant>;

/** The same principal; a machine token with its grant, where that is known. */
export function grantToken(principal: Principal, grants: TokenGrants | null): Principal {
  const grant = principal.kind === 'token' ? grants?.get(principal.name) : undefined;
  return principal.kind === 'token' && grant !== undefined ? { ...principal, grant } : principal;
}

/** What bounds a machine token besides the rules, as a part of a sentence. */
export function describeGrant({ repositories, actions, owner }: TokenGrant): string {
  const owned = owner === null ? '' : `, and no more than ${owner} may`;
  return `${actions.join(', ')} in ${repositories.join(', ')}${owned}`;
}

/** The grant of a machine token that only the rules bound. */
export const unbounded: TokenGrant = {
  repositories: ['**'],
  actions: ['pull', 'push', 'delete'],
  owner: null,
};

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

/** Checks a client's address. @throws RangeError that says what is wrong, as the rest of a sentence */
export function parseClientAddress(text: string): string {
  if (!isAddress(text)) throw new RangeError('is not an IPv4 or IPv6 address');
  return text;
}

/** Names the principal in a sentence. */
export function describePrincipal(principal: Principal): string {
  if (principal.kind !== 'anonymous') return principalText(principal);
  const { networks } = principal;
  return ['a client without credentials', ...(networks.length === 0 ? [] : ['in', networks.join(', ')])].join(
    ' ',
  );
}
