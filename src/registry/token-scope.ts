import type { Action, Permission } from './access.ts';
import { isRepositoryName } from './names/repository-name.ts';

/** Where tokens are fetched; exactly this path. */
export const tokenPath = '/token';

/** What a token is asked for, or allows (distribution, "Token Scope Documentation"); also the form of its claim `access`. */
export type Scope = {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly string[];
};

/** The most scopes of one token: a push that mounts blobs has one for each repository that they come from. */
export const maxScopes = 32;

const actions: readonly Action[] = ['pull', 'push', 'delete'];
/** A type may have a class, which says nothing; the name may have a colon, of a host's port. */
const scopeForm = /^(repository|registry)(?:\([a-z0-9]+\))?:([^\s]+):([a-z,*]*)$/;

/**
 * Reads the scopes that a client asks for, several in one text parted by spaces; kinds and actions that there are not are left
 * out, as the specification has it, and what is asked for twice is one.
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

/** The scope to ask for when this is needed: who pushes also looks at what is there already. */
export function scopeOf({ repository, action }: Permission): Scope {
  return { type: 'repository', name: repository, actions: action === 'push' ? ['pull', 'push'] : [action] };
}

/** Whether scopes cover what is needed. */
export function coversPermission(scopes: readonly Scope[], { repository, action }: Permission): boolean {
  return scopes.some(
    (scope) => scope.type === 'repository' && scope.name === repository && scope.actions.includes(action),
  );
}
