import type { HttpAnswer, Send } from './http-sender.ts';
import { broken, ok, quoteForeign, type Finding } from '../finding.ts';
import { explainStatus } from './challenge.ts';
import type { TokenPlace } from './token-place.ts';

/** The answer to a token request, and the answer to a request with the token; null: there was no token. */
export type TokenTrial = {
  readonly token: Pick<HttpAnswer, 'status' | 'headers'>;
  readonly use: Pick<HttpAnswer, 'status' | 'headers'> | null;
};

/** Fetches a token to read a repository, and uses it. */
export async function tryToken(
  send: Send,
  { realm, service }: TokenPlace,
  { repository, authorization }: { readonly repository: string; readonly authorization: string },
  signal: AbortSignal,
): Promise<TokenTrial> {
  const query = new URLSearchParams({ service, scope: `repository:${repository}:pull` });
  const headers = { Authorization: authorization };
  const token = await send({ method: 'GET', path: `${realm.pathname}?${query.toString()}`, headers }, signal);
  const text = readToken(token);
  if (text === null) return { token, use: null };
  const use = await send(
    {
      method: 'GET',
      path: `/v2/${repository}/tags/list`,
      headers: { Authorization: `Bearer ${text}` },
    },
    signal,
  );
  return { token, use };
}

/** Null: the answer has none, or one that is not valid in a header. */
function readToken({ status, body }: Pick<HttpAnswer, 'status' | 'body'>): string | null {
  if (status !== 200) return null;
  try {
    const { token } = JSON.parse(body.toString()) as { token?: unknown };
    return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : null;
  } catch {
    return null;
  }
}

/** Judges the token; the password itself was accepted. */
export function judgeToken(name: string, { token, use }: TokenTrial): Finding {
  const check = 'password.right';
  if (use === null) {
    const { what, fix } = explainStatus(token);
    return broken(check, `The password of ${name} is accepted, but the request for a token is ${what}.`, fix);
  }
  // The token contains nothing that the policy denies; then the answer says so.
  if ([200, 403, 404].includes(use.status))
    return ok(check, `The password of ${name} is accepted, and so is the token issued for it.`);
  const { what, fix } = explainStatus(use);
  const more =
    use.status === 401 ? ` (${quoteForeign(use.headers['www-authenticate'] ?? 'no challenge')})` : '';
  return broken(
    check,
    `The token that ${name} was given is ${what}${more}.`,
    use.status === 401 ? 'do all instances have the same auth.tokenKeys, and clocks that agree?' : fix,
  );
}
