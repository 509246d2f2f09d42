/** A minimal model of what tokens allow, without the program's code. */
export type Rights = ReadonlySet<string>;

export type Need = { readonly repository: string; readonly action: string };

const rights = (...actions: string[]): Rights => new Set(actions);

/** The rules of Tidegate that tokens are tried on; {@link rightsOf} says the same. */
export const rules = `
policy:
  - { who: [anonymous, authenticated], repositories: ["closed/**"], actions: [] }
  - { who: ["user:alice"], repositories: ["**"], actions: [pull, push, delete] }
  - { who: ["user:bob"], repositories: ["team/**"], actions: [pull, push] }
  - { who: ["user:carol"], repositories: ["team/**"], actions: [pull] }
  - { who: [authenticated], repositories: ["home/\${user}/**"], actions: [pull, push, delete] }
  - { who: [anonymous, authenticated], repositories: ["public/**"], actions: [pull] }
`;
/** Repositories with different rights for each user. */
export const repositories = [
  'public/app',
  'team/app',
  'team/other',
  'home/bob/app',
  'home/carol/app',
  'closed/app',
  'elsewhere/app',
];

/** What {@link rules} allow a user, or one who does not say who he is: null. */
export function rightsOf(who: string | null, repository: string): Rights {
  const [folder, second = ''] = repository.split('/');
  if (!repository.includes('/')) return who === 'alice' ? rights('pull', 'push', 'delete') : rights();
  if (folder === 'closed') return rights();
  if (who === 'alice') return rights('pull', 'push', 'delete');
  if (folder === 'team' && who === 'bob') return rights('pull', 'push');
  if (folder === 'team' && who === 'carol') return rights('pull');
  const isHome = folder === 'home' && second === who && repository.split('/').length > 2;
  if (who !== null && isHome) return rights('pull', 'push', 'delete');
  return folder === 'public' ? rights('pull') : rights();
}

const allActions = ['pull', 'push', 'delete'];
export const maxScopes = 32;

/** What is asked for: actions by repository, and whether the catalog is; null: too much at once. */
export type AskedScopes = { readonly actions: ReadonlyMap<string, Rights>; readonly catalog: boolean };

/** Reads scopes as the specification of the distribution has them ("Token Scope Documentation"), by hand. */
export function readScopes(texts: readonly string[]): AskedScopes | null {
  const words = texts.join(' ').split(' ').filter(Boolean);
  if (words.length > maxScopes) return null;
  const asked = new Map<string, Set<string>>();
  let catalog = false;
  for (const word of words) {
    const [first, last] = [word.indexOf(':'), word.lastIndexOf(':')];
    if (first === last || /\s/.test(word)) continue;
    const type = word.slice(0, first);
    const open = type.indexOf('(');
    const kind = open === -1 ? type : type.slice(0, open);
    if (open !== -1 && !isClass(type.slice(open))) continue;
    const [name, list] = [word.slice(first + 1, last), word.slice(last + 1)];
    if (Array.from(list).some((letter) => !(letter >= 'a' && letter <= 'z') && !',*'.includes(letter)))
      continue;
    if (kind === 'registry' && name === 'catalog') catalog = true;
    if (kind !== 'repository' || !isName(name)) continue;
    const items = list.split(',');
    const wanted = allActions.filter((action) => items.includes(action) || items.includes('*'));
    asked.set(name, new Set([...(asked.get(name) ?? []), ...wanted]));
  }
  return { actions: asked, catalog };
}

/** "(plugin)", say. */
function isClass(text: string): boolean {
  const inner = text.slice(1, -1);
  return text.startsWith('(') && text.endsWith(')') && inner !== '' && !/[^a-z0-9]/.test(inner);
}

/** distribution-spec, "Pulling manifests", part by part. */
export function isName(text: string): boolean {
  const isComponent = (part: string) => {
    const [before, ...others] = part.split(/[a-z0-9]+/);
    const [after, ...separators] = others.reverse();
    const isSeparator = (one: string) => ['.', '_', '__'].includes(one) || (one !== '' && !/[^-]/.test(one));
    return before === '' && after === '' && separators.every(isSeparator);
  };
  return text.length <= 255 && text.split('/').every(isComponent);
}

/** The scopes of {@link readScopes} cut down to what a user may do, as one word each, sorted. */
export function grantOf(who: string | null, asked: AskedScopes): string[] {
  const granted = [...asked.actions].flatMap(([name, wanted]) => {
    const allowed = rightsOf(who, name);
    return [...wanted].filter((action) => allowed.has(action)).map((action) => `${name}:${action}`);
  });
  return [...granted, ...(asked.catalog ? ['catalog'] : [])].sort();
}

/** The claim `access` in the words of {@link grantOf}. */
export function wordsOf(access: unknown): string[] {
  const scopes = access as readonly { type: string; name: string; actions: readonly string[] }[];
  return scopes
    .flatMap(({ type, name, actions }) =>
      type === 'registry' ? [name] : actions.map((action) => `${name}:${action}`),
    )
    .sort();
}
