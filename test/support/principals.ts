import { anonymous, type Principal, type User } from '../../src/registry/principal.ts';

export const user = (name: string): User => ({ kind: 'user', name });

/** A user by that name; null: a client that did not say who it is. */
export const principalOf = (name: string | null): Principal => (name === null ? anonymous : user(name));

/** Those who are no users, by a user's name: a machine token, and a job with claims. */
export const machinesNamed = (name: string): readonly Principal[] => [
  { kind: 'token', name },
  { kind: 'job', issuer: 'github', name, claims: { repository: 'acme/app' } },
];
