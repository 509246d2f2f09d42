import { createHmac, hkdfSync, randomUUID } from 'node:crypto';

export const service = 'Registry';
/** What each kind of token says that it is, and the use of a secret that its key is for. */
export const kinds = {
  access: { typ: 'at+jwt', use: 'access token' },
  refresh: { typ: 'rt+jwt', use: 'refresh token' },
} as const;
export type Kind = keyof typeof kinds;

/** bcrypt of "x" and of another password at cost 4. */
export const hash = '$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2';
export const oldHash = '$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm';
export const userPassword = 'x';
export const users = ['alice', 'bob', 'carol'];
/** The first signs. */
export const secrets = [
  'the first secret of tokens that are tried',
  'the second secret of tokens that are tried',
];

/** The key for one use of a secret, as ARCHITECTURE.md has it. */
export const keyFor = (secret: string, use: string, bytes = 32): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, '', `tidegate ${use}`, bytes));
export const keyId = (secret: string): string => keyFor(secret, 'token key id', 9).toString('base64url');
/** What ties a token to a line of the htpasswd file. */
export const lineOf = (secret: string, name: string, hashOfName: string): string =>
  createHmac('sha256', keyFor(secret, 'htpasswd line'))
    .update(`${name.length}:${name}${hashOfName}`)
    .digest('base64url');

export type Part = Record<string, unknown>;

/** A token before it is made, and how it is shown. What is right at first, and is spoilt in one place. */
export type Draft = {
  readonly kind: Kind;
  readonly who: string | null;
  /** Which secret it is of. */
  readonly secret: string;
  header: Part;
  claims: Part;
  key: Buffer | string;
  /** What the header and the claims are written as. */
  write: { header: (text: string) => string | Buffer; claims: (text: string) => string | Buffer };
  sign: (text: string, key: Buffer | string) => Buffer;
  /** The token as it is shown, from the one that was made. */
  spell: (token: string) => string;
  /** The lines of a head that show an access token. */
  lines: (token: string) => string[];
  /** What of it is shown in the query. */
  query: (token: string) => string;
};

const encode = (part: string | Buffer) => Buffer.from(part).toString('base64url');
const same = (text: string) => text;

export function makeToken(draft: Draft): string {
  const { header, claims, write } = draft;
  const text = `${encode(write.header(JSON.stringify(header)))}.${encode(write.claims(JSON.stringify(claims)))}`;
  return draft.spell(`${text}.${draft.sign(text, draft.key).toString('base64url')}`);
}

/** A right one, which allows what `access` says. */
export function draftToken(kind: Kind, who: string | null, secret: string, access: readonly Part[]): Draft {
  const nowS = Math.floor(Date.now() / 1000);
  return {
    ...{ kind, who, secret },
    header: { alg: 'HS256', typ: kinds[kind].typ, kid: keyId(secret) },
    claims: {
      ...(kind === 'access' ? { access } : {}),
      ...(who === null ? {} : { line: lineOf(secret, who, hash) }),
      ...{ iss: 'tidegate', aud: service, sub: who ?? '', iat: nowS, nbf: nowS, exp: nowS + 300 },
      jti: randomUUID(),
    },
    key: keyFor(secret, kinds[kind].use),
    write: { header: same, claims: same },
    sign: (text, key) => createHmac('sha256', key).update(text).digest(),
    spell: same,
    lines: (token) => [`Authorization: Bearer ${token}`],
    query: () => '',
  };
}
