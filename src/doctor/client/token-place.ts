/** Where a front door says that tokens are fetched, and for what. */
export type TokenPlace = { readonly realm: URL; readonly service: string };

/** Reads a Bearer challenge (distribution, "Token Authentication Specification"); null: it is none, or names no place. */
export function parseTokenPlace(challenge: string | undefined): TokenPlace | null {
  const [, fields] = /^bearer\s(.*)/is.exec(challenge ?? '') ?? [];
  if (fields === undefined) return null;
  const [, realm = ''] = /(?:^|,)\s*realm="([^"]*)"/i.exec(fields) ?? [];
  const [, service = ''] = /(?:^|,)\s*service="([^"]*)"/i.exec(fields) ?? [];
  return URL.canParse(realm) ? { realm: new URL(realm), service } : null;
}

/** Whether the place is at this very front door, which `authority` names, and asked over TLS. */
export function isHere({ realm }: TokenPlace, authority: string): boolean {
  return realm.origin === new URL(`https://${authority}`).origin;
}
