import type { Action, Permission } from './access.ts';
import { isRepositoryName } from './names/repository-name.ts';

/** Where tokens are fetched; exactly this path. */
export const tokenPath = '/token';

/**
 * A scope that a client requests, or a token allows (distribution, "Token Scope Documentation"); also the form of the
 * claim `access`.
 */
export type Scope = {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly string[];
};

/** The most scopes of one token: a push with mounts needs one for each source repository. */
export const maxScopes = 32;

const actions: readonly Action[] = ['pull', 'push', 'delete'];
/** A type may have a class, which is ignored; the name may have the colon of a host's port. */
const scopeForm = /^(repository|registry)(?:\([a-z0-9]+\))?:([^\s]+):([a-z,*]*)$/;

/**
 * Parses the scopes that a client requests, several in one text separated by spaces. Unknown kinds and actions are
 * ignored, as the specification demands, and repeated scopes are merged.
 * @throws RangeError when there are too many.
 */
export function parseScopes(texts: readonly string[]): Scope[] {
  const words = texts.flatMap((text) => text.split(' ')).filter((word) => word !== '');
  if (words.length > maxScopes) throw new RangeError(`more than ${maxScopes} scopes are asked for`);
  const asked = new Map<string, Set<Action>>();
  let catalog = false;
  for (const word of words) {
    const [, type, name = '', list = ''] = scopeForm.exec(word) ?? [];
    if (type === 'registry' && name === 'catalog') catalog = true;
    if (type !== 'repository' || !isRepositoryName(name)) continue;
    const named = list.split(',');
    const wanted = named.includes('*') ? actions : actions.filter((action) => named.includes(action));
    asked.set(name, new Set([...(asked.get(name) ?? []), ...wanted]));
  }
  const scopes: Scope[] = [...asked].map(([name, wanted]) => ({
    type: 'repository',
    name,
    actions: [...wanted],
  }));
  return catalog ? [...scopes, { type: 'registry', name: 'catalog', actions: ['*'] }] : scopes;
}

export function formatScope({ type, name, actions: allowed }: Scope): string {
  return `${type}:${name}:${allowed.join(',')}`;
}

/** The scope for this permission: a push also reads what exists. */
export function scopeOf({ repository, action }: Permission): Scope {
  return { type: 'repository', name: repository, actions: action === 'push' ? ['pull', 'push'] : [action] };
}

/** Whether scopes cover what is needed. */
export function coversPermission(scopes: readonly Scope[], { repository, action }: Permission): boolean {
  return scopes.some(
    (scope) => scope.type === 'repository' && scope.name === repository && scope.actions.includes(action),
  );
}
