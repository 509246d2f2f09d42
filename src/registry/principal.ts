import type { Action } from './access.ts';

/**
 * The sender of a request, once authenticated. `user`: has a line in the htpasswd file; `token`: a machine token, by
 * name, with its grant; `job`: a CI job, by the names of system and job, with the claims that the system signed;
 * `anonymous`: no credentials, with the networks of the policy's rules that the client is in.
 */
export type Principal = User | MachineToken | Job | Anonymous;

export type User = { readonly kind: 'user'; readonly name: string };

export type MachineToken = { readonly kind: 'token'; readonly name: string; readonly grant: TokenGrant };

/** The most that a machine token may do, whatever a policy says. */
export type TokenGrant = {
  /** Patterns of repositories; one has to match. */
  readonly repositories: readonly string[];
  readonly actions: readonly Action[];
  /** The user beyond whose rights it may do nothing; null: it has none. */
  readonly owner: string | null;
  /** Made by its owner: its rights are the owner's, and no rule is asked about its own name. */
  readonly isPersonal?: true;
};

export type Job = {
  readonly kind: 'job';
  /** The name that the configuration gives the CI system. */
  readonly issuer: string;
  readonly name: string;
  readonly claims: Readonly<Record<string, string>>;
};

export type Anonymous = {
  readonly kind: 'anonymous';
  /** The networks that rules of the policy name and the address of this request is in: never those of an earlier one. */
  readonly networks: readonly string[];
};

/** Any principal but anonymous. */
export type KnownPrincipal = Exclude<Principal, Anonymous>;

/** A client without credentials whose address no rule asks about. */
export const anonymous: Anonymous = { kind: 'anonymous', networks: [] };

/**
 * The text of a principal, for the log, messages and keys: `alice`, `token:ci`, `job:github acme/app@refs/heads/main`;
 * null: anonymous. A user's text is the bare name. No name in an htpasswd file has a colon, so no two kinds share a
 * text. It omits claims and networks, so what a job or an anonymous client may do must not be remembered under it.
 */
export function principalText(principal: KnownPrincipal): string;
export function principalText(principal: Principal): string | null;
export function principalText(principal: Principal): string | null {
  switch (principal.kind) {
    case 'user':
      return principal.name;
    case 'token':
      return `token:${principal.name}`;
    case 'job':
      return `job:${principal.issuer} ${principal.name}`;
    case 'anonymous':
      return null;
  }
}
