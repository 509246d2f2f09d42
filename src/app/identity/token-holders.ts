import type { GoodToken } from '../../auth/machine-tokens/machine-logins.ts';
import type { RegistryTokensOptions, TokenHolder } from '../../auth/tokens/registry-tokens.ts';
import type { TokenEndpointOptions } from '../../pipeline/authenticate/token-endpoint.ts';
import type { Jobs } from './jobs.ts';
import type { Users } from './users.ts';

/** Finds what a token from /token is bound to. */
export type TokenHolders = {
  /** By the text of a principal; undefined: there is none of that text now. */
  readonly find: (text: string) => TokenHolder | undefined;
  /** Of a job that its token carries; undefined: its issuer is not configured any more. */
  readonly ofJob: NonNullable<RegistryTokensOptions['holderOfJob']>;
  /** Of a principal who was just verified; undefined: it gets no token. */
  readonly ofVerified: TokenEndpointOptions['holderOf'];
};

/** The start of a machine token's text. */
const machinePrefix = 'token:';

/**
 * Users are bound to their line in the htpasswd file; machine tokens to their hash, expiry and owner; jobs to their
 * issuer and their ID token's expiry.
 */
export function createTokenHolders(
  { authenticator, htpasswd, machines }: Pick<Users, 'authenticator' | 'htpasswd' | 'machines'>,
  jobs: Jobs | null,
): TokenHolders {
  return {
    find: (text) =>
      text.startsWith(machinePrefix)
        ? holdMachine(machines.find(text.slice(machinePrefix.length)))
        : holdUser(text, htpasswd.lookup(text)?.hash),
    ofJob: (job) => jobs?.holderOf(job),
    ofVerified: (principal) => {
      switch (principal.kind) {
        case 'user':
          return holdUser(principal.name, authenticator.hashOf(principal));
        case 'token':
          return holdMachine(machines.find(principal.name));
        case 'job':
          return jobs?.issueFor(principal);
      }
    },
  };
}

function holdUser(name: string, hash: string | undefined): TokenHolder | undefined {
  return hash === undefined ? undefined : { principal: { kind: 'user', name }, hash, expiresMs: null };
}

function holdMachine(good: GoodToken | undefined): TokenHolder | undefined {
  return good && { principal: good.principal, hash: good.sha256, expiresMs: good.expiresMs };
}
