import { OciError } from '../../registry/error.ts';
import type { Exchange } from '../exchange.ts';

/** The fault of a request's token (RFC 6750 section 3.1). */
export type BearerError = 'invalid_token' | 'insufficient_scope';

/** The header fields of a challenge. */
export type Challenge = (exchange: Exchange, fault?: BearerError) => Record<string, string>;

/** Asks for a name and a password (RFC 7617). */
export function createBasicChallenge(realm: string): Challenge {
  const fields = { 'WWW-Authenticate': `Basic realm="${realm}"` };
  return () => fields;
}

/** The 401 for a request without credentials. */
export function credentialsNeeded(challengeFields: Record<string, string>): OciError {
  return new OciError(
    'UNAUTHORIZED',
    'Credentials are needed: log in with the name and password that were given to you for this registry.',
    { headers: challengeFields },
  );
}
