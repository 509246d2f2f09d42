import {
  anonymous,
  type MachineToken,
  type Principal,
  type TokenGrant,
  type User,
} from '../../src/registry/principal.ts';

export const user = (name: string): User => ({ kind: 'user', name });

/** A user by that name; null: an anonymous client. */
export const principalOf = (name: string | null): Principal => (name === null ? anonymous : user(name));

/** A machine token that only the policy limits, unless the grant says more. */
export const machineToken = (name: string, grant: Partial<TokenGrant> = {}): MachineToken => ({
  kind: 'token',
  name,
  grant: { repositories: ['**'], actions: ['pull', 'push', 'delete'], owner: null, ...grant },
});

/** Principals with a user's name that are not users: a machine token, and a job with claims. */
export const machinesNamed = (name: string): readonly Principal[] => [
  machineToken(name),
  { kind: 'job', issuer: 'github', name, claims: { repository: 'acme/app' } },
];
