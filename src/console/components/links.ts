/** Where the pages are. Every name is encoded, whatever it holds. */
export const links = {
  repositories: '/ui/',
  login: '/ui/login',
  logout: '/ui/logout',
  connect: '/ui/connect',
  authority: '/ui/ca.crt',
  account: '/ui/account',
  password: '/ui/account/password',
  tokens: '/ui/account/tokens',
  revokeToken: '/ui/account/tokens/revoke',
  clean: '/ui/clean',
  undo: '/ui/clean/undo',
  repository: (name: string) => `/ui/r/${encodePath(name)}`,
  image: (name: string, reference: string) => `/ui/r/${encodePath(name)}/-/i/${encodeReference(reference)}`,
  /** The bytes of a manifest. */
  raw: (name: string, reference: string) => `/ui/r/${encodePath(name)}/-/raw/${encodeReference(reference)}`,
  compare: (name: string) => `/ui/r/${encodePath(name)}/-/compare`,
  /** GET asks, POST deletes. */
  delete: (name: string) => `/ui/r/${encodePath(name)}/-/delete`,
} as const;

/** Adds a query, without what is empty. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | null>>): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === null || value === '' ? [] : [`${name}=${encodeURIComponent(toWellFormed(String(value)))}`],
  );
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

/** The same page in another language. */
export function withLanguage(path: string, locale: string): string {
  const [place = '', query = ''] = path.split('?', 2);
  const parameters = new URLSearchParams(query);
  parameters.set('lang', locale);
  return `${place}?${parameters.toString()}`;
}

function encodePath(name: string): string {
  return name.split('/').map(encodeReference).join('/');
}

/** As `encodeURIComponent`, but ":" stays, as in digests. */
function encodeReference(reference: string): string {
  return encodeURIComponent(toWellFormed(reference)).replaceAll('%3A', ':');
}

/** `encodeURIComponent` throws at half a surrogate pair. */
function toWellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}
