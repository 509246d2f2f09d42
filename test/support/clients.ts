import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Finished } from './processes.ts';

/** A client's options for one command. */
export type Access = {
  /** Whether it may use the credentials that login stored. */
  readonly loggedIn: boolean;
  /** Whether it trusts the CA of Tidegate's certificate. */
  readonly trusting: boolean;
};

/** An image as a client stores it. Two with the same id have the same layers. */
export type LocalImage = { readonly id: string; readonly digest: string };

/** A real client with its own storage, credentials and trust in a temporary folder, and one image to push. */
export type Client = {
  /** Name and version. */
  readonly name: string;
  /** Matches its message for a wrong password. */
  readonly wrongPassword: RegExp;
  /** Matches its message when it needs credentials and has none. */
  readonly noCredentials: RegExp;
  /** `name`: the default is Tidegate's user. */
  login(password: string, access: Pick<Access, 'trusting'> & { readonly name?: string }): Promise<Finished>;
  push(repositoryTag: string, access: Access): Promise<Finished>;
  /** Downloads everything: the client has kept nothing of what it pushed. */
  pull(repositoryTag: string, access: Access): Promise<Finished>;
  /** The image of the last pull. */
  pulled(repositoryTag: string): Promise<LocalImage>;
  /** Whether login has stored any credentials. */
  hasCredentials(): Promise<boolean>;
  cleanUp(): Promise<void>;
};

export const unknownAuthority = /certificate signed by unknown authority/;

/** Returns the last line of a client's output, where clients put the reason. */
export function lastLine({ code, stdout, stderr }: Finished): string {
  const said = code === 0 && stdout.trim() !== '' ? stdout : stderr;
  return said.trim().split('\n').at(-1) ?? '';
}

export function assertSucceeded(t: TestContext, done: Finished): void {
  t.diagnostic(lastLine(done));
  assert.equal(done.code, 0, done.stderr);
}

export function assertFailed(t: TestContext, done: Finished, reason = /./): void {
  t.diagnostic(lastLine(done));
  assert.notEqual(done.code, 0, done.stdout);
  assert.match(done.stderr, reason);
}
