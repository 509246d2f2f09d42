import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { TokenHolder } from '../../auth/tokens/registry-tokens.ts';
import { readCookie, sessionCookie } from '../../http/cookies.ts';
import type { RawHeaders } from '../../http/raw-headers.ts';
import { deriveKey, type Secrets } from '../../pipeline/authorize/derived-key.ts';
import { principalText } from '../../registry/principal.ts';

/** A browser that was given a cookie, and who has logged in with it. */
export type Session = {
  /** Random; a login begins another. */
  readonly id: string;
  /** Null: nobody has. */
  readonly holder: TokenHolder | null;
};

/** Sessions are in sealed cookies alone: any worker reads them, and none remembers them. */
export type Sessions = {
  /** Begins a session. @returns the value of Set-Cookie, too */
  begin(holder: TokenHolder | null): { readonly session: Session; readonly cookie: string };
  /** The session of a request; null: none, or it has ended. */
  read(rawHeaders: RawHeaders): Session | null;
  /** What proves that a form comes from a page of this session. */
  formToken(session: Session): string;
  isFormToken(session: Session, token: string): boolean;
};

export type SessionsOptions = {
  /** The first seals and any opens. */
  readonly secrets: Secrets;
  readonly ttlMs: number;
  /** Who has this text as a principal now, and what proves it; undefined: nobody, or not any more. */
  readonly findHolder: (text: string) => TokenHolder | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

/** The value that takes the cookie away. */
export const endedSession = setCookie('', 0);

/** What is sealed: no password, and nothing that a password could be guessed by. */
type Sealed = {
  readonly id: string;
  /** Of the principal; empty: nobody has logged in. */
  readonly text: string;
  /** Binds it to the line of the user, or to the machine token. */
  readonly proof: string;
  readonly issuedMs: number;
  readonly expiresMs: number;
};

/** How long a login may be thought about, in milliseconds. */
const loginTtlMs = 60 * 60 * 1000;
const idBytes = 16;
const ivBytes = 12;
const tagBytes = 16;
/** Longer ones are none of ours: a principal's text has at most some 260 characters. */
const maxCookieLength = 2048;

export function createSessions({ secrets, ttlMs, findHolder, now }: SessionsOptions): Sessions {
  const derive = (use: string) => secrets.map((secret) => deriveKey(secret, use)) as [Buffer, ...Buffer[]];
  const sealKeys = derive('console session');
  const proofKeys = derive('console session holder');
  const formKeys = derive('console form');

  const isCurrent = ({ issuedMs, expiresMs }: Sealed): boolean =>
    now() < Math.min(expiresMs, issuedMs + ttlMs);

  const formTokenBy = (key: Buffer, { id }: Session): string =>
    createHmac('sha256', key).update(id).digest('base64url');

  return {
    begin: (holder) => {
      const id = randomBytes(idBytes).toString('base64url');
      const issuedMs = now();
      const untilMs = issuedMs + (holder === null ? Math.min(ttlMs, loginTtlMs) : ttlMs);
      const expiresMs = Math.min(untilMs, holder?.expiresMs ?? Infinity);
      const text = holder === null ? '' : principalText(holder.principal);
      const proof = holder === null ? '' : prove(proofKeys[0], holder);
      const sealed = seal(sealKeys[0], { id, text, proof, issuedMs, expiresMs });
      const seconds = Math.max(1, Math.floor((expiresMs - issuedMs) / 1000));
      return { session: { id, holder }, cookie: setCookie(sealed, seconds) };
    },
    read: (rawHeaders) => {
      const value = readCookie(rawHeaders, sessionCookie);
      if (value === null || value.length > maxCookieLength) return null;
      for (const [index, key] of sealKeys.entries()) {
        const opened = open(key, value);
        if (opened === null) continue;
        if (!isCurrent(opened)) return null;
        if (opened.text === '') return { id: opened.id, holder: null };
        const holder = findHolder(opened.text);
        const isProven =
          holder !== undefined && isEqual(opened.proof, prove(proofKeys[index] ?? proofKeys[0], holder));
        return isProven ? { id: opened.id, holder } : null;
      }
      return null;
    },
    formToken: (session) => formTokenBy(formKeys[0], session),
    isFormToken: (session, token) => formKeys.some((key) => isEqual(token, formTokenBy(key, session))),
  };
}

/** Only over https, only for this host, and never with a request that another site caused. */
function setCookie(value: string, seconds: number): string {
  return `${sessionCookie}=${value}; Path=/; Max-Age=${seconds}; Secure; HttpOnly; SameSite=Strict`;
}

function prove(key: Buffer, { principal, hash }: TokenHolder): string {
  const text = principalText(principal);
  // The length goes first: else "ab" with "c" and "a" with "bc" would be one.
  return createHmac('sha256', key).update(`${text.length}:${text}${hash}`).digest('base64url');
}

function isEqual(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function seal(key: Buffer, { id, text, proof, issuedMs, expiresMs }: Sealed): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  const content = JSON.stringify([id, text, proof, issuedMs, expiresMs]);
  return Buffer.concat([iv, cipher.update(content), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  );
}

/** Null: not sealed with this key. */
function open(key: Buffer, value: string): Sealed | null {
  const bytes = Buffer.from(value, 'base64url');
  // One spelling alone.
  if (bytes.length < ivBytes + tagBytes || bytes.toString('base64url') !== value) return null;
  try {
    const iv = bytes.subarray(0, ivBytes);
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
    decipher.setAuthTag(bytes.subarray(-tagBytes));
    const content = Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]);
    const [id, text, proof, issuedMs, expiresMs] = JSON.parse(content.toString()) as [
      ...[string, string, string],
      ...[number, number],
    ];
    return { id, text, proof, issuedMs, expiresMs };
  } catch {
    return null;
  }
}
