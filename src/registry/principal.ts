/**
 * Who asks, once that is proven. `user`: someone with a line in the htpasswd file; `token`: a machine token, by its name; `job`: a job of
 * a CI system, by the system's name and its own, with what the system has signed of it; `anonymous`: one who did not say.
 */
export type Principal =
  | User
  | { readonly kind: 'token'; readonly name: string }
  | { readonly kind: 'job'; readonly name: string; readonly claims: Readonly<Record<string, string>> }
  | { readonly kind: 'anonymous' };

export type User = { readonly kind: 'user'; readonly name: string };

/** One who said who he, she or it is. */
export type KnownPrincipal = Exclude<Principal, { readonly kind: 'anonymous' }>;

export const anonymous: Principal = { kind: 'anonymous' };

/**
 * The text of a principal, for the log, for messages and as a key: `alice`, `token:ci`, `job:github acme/app`; null: anonymous. A user's is
 * the bare name, and no name in an htpasswd file has a colon, so no two kinds share a text. It leaves out claims: what a job may do is
 * not to be remembered under it.
 */
export function principalText(principal: KnownPrincipal): string;
export function principalText(principal: Principal): string | null;
export function principalText(principal: Principal): string | null {
  switch (principal.kind) {
    case 'user':
      return principal.name;
    case 'token':
    case 'job':
      return `${principal.kind}:${principal.name}`;
    case 'anonymous':
      return null;
  }
}
