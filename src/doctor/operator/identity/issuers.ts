import { loadKeys } from '../../../auth/oidc/issuer-keys.ts';
import { loadIssuerCa } from '../../../app/pem-files.ts';
import type { Config } from '../../../config/schema/schema.ts';
import type { Check } from '../../check.ts';
import { broken, ok, quoteForeign, type Finding } from '../../finding.ts';

const check = 'oidc.keys';
const fix =
  'curl -v ISSUER/.well-known/openid-configuration: is https from here allowed, and are issuer, jwks and ca in auth.oidc right?';
/** What a check may take besides its fetches, which all run at once. */
const spareMs = 2000;

/** The check of the issuers of ID tokens: their keys can be fetched, as `serve` does. */
export function createIssuerChecks({ auth, limits }: Pick<Config, 'auth' | 'limits'>): Check[] {
  const bounds = { timeoutMs: limits.oidcTimeout, maxBytes: limits.oidcDocumentBytes };
  return [
    {
      ids: [check],
      limitMs: bounds.timeoutMs + spareMs,
      fix,
      run: async (signal) => {
        const faults = await Promise.all(auth.oidc.map((issuer) => findFault(issuer, bounds, signal)));
        return [judgeIssuers(faults)];
      },
    },
  ];
}

/** Null: a key was fetched. */
async function findFault(
  { name, issuer, jwks, ca: caPath }: Config['auth']['oidc'][number],
  bounds: { timeoutMs: number; maxBytes: number },
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const ca = caPath === null ? null : (await loadIssuerCa(caPath)).pem;
    const { keys } = await loadKeys({ issuer, jwks, ca, ...bounds }, signal);
    return keys.size > 0 ? null : `The issuer ${name} publishes no key that can verify an ID token.`;
  } catch (error) {
    return `The keys of the issuer ${name} cannot be fetched: ${quoteForeign((error as Error).message)}.`;
  }
}

function judgeIssuers(faults: readonly (string | null)[]): Finding {
  const found = faults.filter((fault) => fault !== null);
  if (found.length > 0) return broken(check, found.join(' '), fix);
  if (faults.length === 0) return ok(check, 'auth.oidc names no issuer of ID tokens.');
  return ok(check, 'The keys of every issuer in auth.oidc can be fetched.');
}
