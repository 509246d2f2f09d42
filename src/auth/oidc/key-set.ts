import { createPublicKey, type KeyObject } from 'node:crypto';
import { importJWK, type CryptoKey, type JWK } from 'jose';
import { readObject } from './json-object.ts';

/** The accepted signature algorithms. The kind of a key decides its algorithm. */
export const signingAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const;
export type SigningAlgorithm = (typeof signingAlgorithms)[number];

/** A public key of an issuer. */
export type IssuerKey = { readonly key: CryptoKey; readonly algorithm: SigningAlgorithm };

/** The usable keys of a set, by their `kid`. */
export type KeySet = {
  readonly keys: ReadonlyMap<string, IssuerKey>;
  /** Equal for two sets with the same keys. */
  readonly fingerprint: string;
};

/** More than any issuer publishes at a time. */
const maxKeys = 100;
const maxKidLength = 255;
/** Smaller keys are weak; larger ones make each verification costly. */
const rsaBits = { min: 2048, max: 8192 };

/**
 * Parses a JSON Web Key Set (RFC 7517 section 5). Skips keys that cannot verify an ID token: without `kid`, for another
 * use or algorithm, of another kind, or too weak. Skips both of two keys with one `kid`. A set may have no usable key: an
 * issuer can withdraw all.
 *
 * @throws Error whose message says why it is no set
 */
export async function parseKeySet(document: unknown): Promise<KeySet> {
  const members = readObject(document)?.['keys'];
  if (!Array.isArray(members)) throw new Error('it is no JSON Web Key Set');
  if (members.length > maxKeys) throw new Error(`it has more than ${maxKeys} keys`);
  const keys = new Map<string, IssuerKey>();
  const kids = new Set<string>();
  const described: string[] = [];
  for (const member of members) {
    const jwk = readObject(member);
    const kid = jwk?.['kid'];
    if (jwk === null || typeof kid !== 'string' || kid === '' || kid.length > maxKidLength) continue;
    if (kids.has(kid)) keys.delete(kid);
    else {
      const found = await readKey(jwk);
      if (found) keys.set(kid, found.usable);
      described.push(JSON.stringify([kid, found?.text ?? null]));
    }
    kids.add(kid);
  }
  return { keys, fingerprint: [...described.sort(), ...keys.keys()].join('\n') };
}

async function readKey(
  jwk: Readonly<Record<string, unknown>>,
): Promise<{ usable: IssuerKey; text: string } | null> {
  const { use, alg, key_ops: operations, kty, crv, n, e, x, y } = jwk;
  if (use !== undefined && use !== 'sig') return null;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return null;
  // Import the public key only: the other members are checked above.
  const publicPart = { kty, crv, n, e, x, y } as JWK;
  try {
    const algorithm = findAlgorithm(createPublicKey({ key: publicPart, format: 'jwk' }));
    if (algorithm === null || (alg !== undefined && alg !== algorithm)) return null;
    const key = (await importJWK(publicPart, algorithm)) as CryptoKey;
    return { usable: { key, algorithm }, text: JSON.stringify(publicPart) };
  } catch {
    return null;
  }
}

function findAlgorithm({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject) {
  const { modulusLength: bits = 0, publicExponent: exponent = 0n, namedCurve } = details ?? {};
  // With the exponent 1 anyone can make a signature; an even one is no RSA key (RFC 8017 section 3.1).
  const isSound = exponent >= 3n && exponent % 2n === 1n;
  if (type === 'rsa') return isSound && bits >= rsaBits.min && bits <= rsaBits.max ? 'RS256' : null;
  if (type === 'ec' && namedCurve === 'prime256v1') return 'ES256';
  return type === 'ed25519' ? 'EdDSA' : null;
}
