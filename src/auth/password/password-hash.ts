import { createHash, timingSafeEqual } from 'node:crypto';
import { hashSync } from 'bcryptjs';
import { apr1 } from './apr1.ts';
import { shaCrypt } from './sha-crypt.ts';

/** A parsed password hash of an htpasswd file; `cost` is bcrypt's log2 of rounds. */
export type PasswordHash =
  | { readonly kind: 'bcrypt'; readonly cost: number; readonly setting: string; readonly digest: string }
  | { readonly kind: 'apr1'; readonly salt: string; readonly digest: string }
  | { readonly kind: 'sha1'; readonly digest: string }
  | {
      readonly kind: 'sha256-crypt' | 'sha512-crypt';
      readonly rounds: number;
      readonly salt: string;
      readonly digest: string;
    };

export type PasswordHashKind = PasswordHash['kind'];

// The last characters of salt and digest have spare bits: where they are set, nothing can ever match.
const bcryptForm =
  /^(\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu])([./A-Za-z0-9]{30}[.CGKOSWaeimquy26])$/;
const apr1Form = /^\$apr1\$([\x21-\x23\x25-\x7e]{0,8})\$([./A-Za-z0-9]{22})$/;
const sha1Form = /^\{SHA\}([A-Za-z0-9+/]{26}[AEIMQUYcgkosw048]=)$/;
// What crypt(3) reads as a number of rounds is never a salt, even if the number is not allowed.
const shaCryptForm =
  /^\$([56])\$(?:rounds=([1-9][0-9]{3,8})\$)?(?!rounds=[0-9]*\$)([\x21-\x23\x25-\x7e]{0,16})\$([./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})$/;

/**
 * Parses a hash: bcrypt ($2a$ $2b$ $2y$), $apr1$, {SHA}, $5$ and $6$; undefined for any other kind and for a broken
 * one.
 */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const bcrypt = bcryptForm.exec(text);
  if (bcrypt) {
    const [, setting = '', cost, digest = ''] = bcrypt;
    return { kind: 'bcrypt', cost: Number(cost), setting, digest };
  }
  const apr = apr1Form.exec(text);
  if (apr) {
    const [, salt = '', digest = ''] = apr;
    return { kind: 'apr1', salt, digest };
  }
  const sha1 = sha1Form.exec(text)?.[1];
  if (sha1 !== undefined) return { kind: 'sha1', digest: sha1 };
  const crypt = shaCryptForm.exec(text);
  if (crypt) {
    const [, id, rounds = '5000', salt = '', digest = ''] = crypt;
    if (digest.length !== (id === '5' ? 43 : 86)) return undefined;
    return { kind: id === '5' ? 'sha256-crypt' : 'sha512-crypt', rounds: Number(rounds), salt, digest };
  }
  return undefined;
}

/**
 * Whether the password matches the hash, compared in constant time. Takes up to a second, by the hash's cost: never
 * call it on the thread that streams.
 *
 * @throws Error when the hash is of an unknown kind
 */
export function verifyPassword(password: string, hash: string): boolean {
  const parsed = parsePasswordHash(hash);
  if (parsed === undefined) throw new Error('not a password hash of a known kind');
  return timingSafeEqual(Buffer.from(computeDigest(password, parsed)), Buffer.from(parsed.digest));
}

function computeDigest(password: string, hash: PasswordHash): string {
  switch (hash.kind) {
    case 'bcrypt':
      return hashSync(password, hash.setting).slice(hash.setting.length);
    case 'apr1':
      return apr1(password, hash.salt);
    case 'sha1':
      return createHash('sha1').update(password).digest('base64');
    case 'sha256-crypt':
      return shaCrypt('sha256', password, hash.salt, hash.rounds);
    case 'sha512-crypt':
      return shaCrypt('sha512', password, hash.salt, hash.rounds);
  }
}

/** Hashes a new password with bcrypt, in the $2y$ form that Apache's htpasswd writes; at cost 10 it works for some 0.1 s. */
export function hashPassword(password: string, cost = 10): string {
  return hashSync(password, cost).replace(/^\$2b\$/, '$2y$');
}
