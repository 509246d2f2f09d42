import type { Finished } from './processes.ts';

/** What a client is given for one command. */
export type Access = {
  /** Whether it may use the credentials that login stored. */
  readonly loggedIn: boolean;
  /** Whether it is given the CA that signed the front door's certificate. */
  readonly trusting: boolean;
};

/** An image as a client has it: two with one id are one image, layer by layer. */
export type LocalImage = { readonly id: string; readonly digest: string };

/** A real client with storage, credentials and trust of its own in a temporary folder, and one image to push. */
export type Client = {
  /** Name and version. */
  readonly name: string;
  /** What it says when a password is wrong. */
  readonly wrongPassword: RegExp;
  /** What it says when it has no credentials and needs some. */
  readonly noCredentials: RegExp;
  /** `name`: the front door's user when left out. */
  login(password: string, access: Pick<Access, 'trusting'> & { readonly name?: string }): Promise<Finished>;
  push(repositoryTag: string, access: Access): Promise<Finished>;
  /** Downloads everything anew: nothing that was pushed is left in the client. */
  pull(repositoryTag: string, access: Access): Promise<Finished>;
  /** What the last pull brought. */
  pulled(repositoryTag: string): Promise<LocalImage>;
  /** Whether login has stored any credentials. */
  hasCredentials(): Promise<boolean>;
  cleanUp(): Promise<void>;
};

export const unknownAuthority = /certificate signed by unknown authority/;

/** The last line of what a client said, which is where clients sum up. */
export function lastLine({ code, stdout, stderr }: Finished): string {
  const said = code === 0 && stdout.trim() !== '' ? stdout : stderr;
  return said.trim().split('\n').at(-1) ?? '';
}
