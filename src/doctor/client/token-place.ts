/** The token endpoint that a challenge names, and its scope. */
export type TokenPlace = { readonly realm: URL; readonly service: string };

/** Parses a Bearer challenge (distribution, "Token Authentication Specification"); null: not one, or without an address. */
export function parseTokenPlace(challenge: string | undefined): TokenPlace | null {
  const [, fields] = /^bearer\s(.*)/is.exec(challenge ?? '') ?? [];
  if (fields === undefined) return null;
  const [, realm = ''] = /(?:^|,)\s*realm="([^"]*)"/i.exec(fields) ?? [];
  const [, service = ''] = /(?:^|,)\s*service="([^"]*)"/i.exec(fields) ?? [];
  return URL.canParse(realm) ? { realm: new URL(realm), service } : null;
}

/** Whether the endpoint is this server, named by `authority`, over TLS. */
export function isHere({ realm }: TokenPlace, authority: string): boolean {
  return realm.origin === new URL(`https://${authority}`).origin;
}
