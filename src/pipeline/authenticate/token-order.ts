import type { RegistryTokens, TokenHolder, TokenSubject } from '../../auth/tokens/registry-tokens.ts';
import { OciError, type OauthError } from '../../registry/error.ts';
import type { KnownPrincipal } from '../../registry/principal.ts';
import type { CanonicalTarget } from '../../registry/target.ts';
import { parseScopes, type Scope } from '../../registry/token-scope.ts';
import type { Exchange } from '../exchange.ts';
import type { Authentication, Authenticate } from './authenticate.ts';
import { readForm } from '../form.ts';

export type TokenOrderOptions = {
  readonly tokens: Pick<RegistryTokens, 'verifyRefresh'>;
  readonly service: string;
  /**
   * Whether the keys outlive this process. If not, a GET gets no refresh token: `docker login` would keep it in place
   * of the password, and it would fail after a restart.
   */
  readonly keepsKeys: boolean;
  /** Authenticates by password, or as anonymous. */
  readonly authenticate: Authenticate;
  /** What a token for who was just verified is bound to; undefined: that one gets none. */
  readonly holderOf: (principal: KnownPrincipal) => TokenHolder | undefined;
  readonly maxFormBytes: number;
  readonly formTimeoutMs: number;
};

/** A token request. */
export type TokenOrder = {
  readonly subject: TokenSubject;
  readonly scopes: readonly Scope[];
  readonly wantsRefreshToken: boolean;
};

/** Parses a token request, from the query of a GET or the form of a POST, and authenticates it. @throws OciError */
export type ReadTokenOrder = (exchange: Exchange, target: CanonicalTarget) => Promise<TokenOrder>;

export function createTokenOrders(options: TokenOrderOptions): ReadTokenOrder {
  const { tokens, service, authenticate, holderOf } = options;

  /** Who was authenticated. */
  const subjectOf = (exchange: Exchange, { principal, keepAuthorization }: Authentication): TokenSubject => {
    if (principal.kind === 'anonymous') return null;
    // A token of the first protocol proves a user to that protocol's registry alone.
    const holder = keepAuthorization ? undefined : holderOf(principal);
    if (holder === undefined && principal.kind === 'job') {
      exchange.reason = 'expired-id-token';
      throw new OciError('UNAUTHORIZED', 'The ID token has expired: get another from the CI system.');
    }
    if (holder === undefined)
      throw new OciError('UNAUTHORIZED', 'A token is issued only for a name and a password.');
    return holder;
  };

  const readQuery = async (exchange: Exchange, target: CanonicalTarget): Promise<TokenOrder> => {
    const query = new URLSearchParams(target.raw.slice(target.rawPath.length + 1));
    const refuse: Refuse = (_, sentence) => new OciError('BAD_REQUEST', sentence);
    checkService(query, service, refuse);
    const scopes = readScopes(query, refuse);
    return {
      subject: subjectOf(exchange, await authenticate(exchange, { kind: 'outside' })),
      scopes,
      wantsRefreshToken: readOnce(query, 'offline_token', refuse) === 'true' && options.keepsKeys,
    };
  };

  const readPosted = async (exchange: Exchange): Promise<TokenOrder> => {
    const { maxFormBytes: maxBytes, formTimeoutMs: timeoutMs } = options;
    const form = await readForm(exchange, { maxBytes, key: 'limits.tokenFormBytes', timeoutMs });
    const refuse: Refuse = (error, sentence) => oauthError(error, sentence);
    checkService(form, service, refuse);
    const scopes = readScopes(form, refuse);
    const wantsRefreshToken = readOnce(form, 'access_type', refuse) === 'offline';
    const grantType = readOnce(form, 'grant_type', refuse);
    switch (grantType) {
      case 'refresh_token': {
        const token = readOnce(form, 'refresh_token', refuse);
        if (token === null) throw refuse('invalid_request', 'The refresh_token is missing.');
        const subject = await tokens.verifyRefresh(token);
        if (subject === null) {
          exchange.reason = 'invalid-token';
          throw refuse('invalid_grant', 'The login has expired, or its password has changed: log in again.');
        }
        return { subject, scopes, wantsRefreshToken: false };
      }
      case 'password': {
        const name = readOnce(form, 'username', refuse);
        const password = readOnce(form, 'password', refuse);
        if (name === null || password === null)
          throw refuse('invalid_request', 'The username or the password is missing.');
        return { subject: await logIn(exchange, name, password), scopes, wantsRefreshToken };
      }
      case null:
        throw refuse('invalid_request', 'The grant_type is missing.');
      default:
        throw refuse('unsupported_grant_type', 'The grant_type is neither password nor refresh_token.');
    }
  };

  /** Authenticates them as if they had come in Authorization: the same checks, lock-outs and cache. */
  const logIn = async (exchange: Exchange, name: string, password: string): Promise<TokenSubject> => {
    // RFC 7617 section 2: the first colon ends the name, and the rest would be read as the password.
    const text = name.includes(':') ? '' : `${name}:${password}`;
    const value = `Basic ${Buffer.from(text).toString('base64')}`;
    try {
      return subjectOf(exchange, await authenticate(exchange, { kind: 'outside' }, [value]));
    } catch (error) {
      if (!(error instanceof OciError) || error.code !== 'UNAUTHORIZED') throw error;
      throw oauthError('invalid_grant', error.message);
    }
  };

  return (exchange, target) =>
    exchange.method === 'GET' ? readQuery(exchange, target) : readPosted(exchange);
}

/** Creates the error in the form of the request: of OAuth2 for a form. */
type Refuse = (error: OauthError, sentence: string) => OciError;

function oauthError(oauth: OauthError, sentence: string): OciError {
  return new OciError(oauth === 'invalid_grant' ? 'UNAUTHORIZED' : 'BAD_REQUEST', sentence, { oauth });
}

/** RFC 6749 section 3.2: parameters come once; null: not at all. */
function readOnce(parameters: URLSearchParams, name: string, refuse: Refuse): string | null {
  const [value = null, ...others] = parameters.getAll(name);
  if (others.length > 0) throw refuse('invalid_request', `There is more than one ${name}.`);
  return value;
}

function checkService(parameters: URLSearchParams, service: string, refuse: Refuse): void {
  const asked = readOnce(parameters, 'service', refuse);
  // Some clients (Watchtower) read the whole challenge in lower case.
  if (asked !== null && asked.toLowerCase() !== service.toLowerCase())
    throw refuse('invalid_request', 'The service is not the one that the registry named.');
}

/** Scopes may come one by one in a form as well: some clients repeat them there. */
function readScopes(parameters: URLSearchParams, refuse: Refuse): Scope[] {
  try {
    return parseScopes(parameters.getAll('scope'));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refuse('invalid_scope', `Too much at once: ${error.message}.`);
  }
}
