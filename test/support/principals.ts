import {
  anonymous,
  type MachineToken,
  type Principal,
  type TokenGrant,
  type User,
} from '../../src/registry/principal.ts';

export const user = (name: string): User => ({ kind: 'user', name });

/** A user by that name; null: a client that did not say who it is. */
export const principalOf = (name: string | null): Principal => (name === null ? anonymous : user(name));

/** A machine token that is bounded by nothing but the policy, unless the grant says so. */
export const machineToken = (name: string, grant: Partial<TokenGrant> = {}): MachineToken => ({
  kind: 'token',
  name,
  grant: { repositories: ['**'], actions: ['pull', 'push', 'delete'], owner: null, ...grant },
});

/** Those who are no users, by a user's name: a machine token, and a job with claims. */
export const machinesNamed = (name: string): readonly Principal[] => [
  machineToken(name),
  { kind: 'job', issuer: 'github', name, claims: { repository: 'acme/app' } },
];
