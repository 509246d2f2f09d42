import { readForm, type FormLimits } from '../../pipeline/form.ts';
import type { Exchange } from '../../pipeline/exchange.ts';
import { headerValues } from '../../http/raw-headers.ts';
import { isSameAddress, parseWebAddress } from '../../http/web-address.ts';
import { OciError } from '../../registry/error.ts';
import { ConsoleError } from '../console-error.ts';
import type { Session, Sessions } from '../session/sessions.ts';

export type FormOptions = Pick<FormLimits, 'maxBytes' | 'timeoutMs'> & {
  readonly sessions: Pick<Sessions, 'isFormToken'>;
};

/**
 * Reads a form that a page of the console sent, in the session of that page. Nothing of it is read before the browser
 * has said that it comes from here.
 * @throws ConsoleError
 */
export async function readCheckedForm(
  exchange: Exchange,
  session: Session | null,
  { sessions, ...limits }: FormOptions,
): Promise<URLSearchParams> {
  const fault = findForeignOrigin(exchange);
  if (fault !== null) throw new ConsoleError('forbidden', fault);
  if (session === null) throw new ConsoleError('staleForm', 'no-session');
  const form = await readForm(exchange, { ...limits, key: 'limits.consoleFormBytes' }).catch(
    refuseUnreadable,
  );
  const [token, ...others] = form.getAll('csrf');
  if (token === undefined || others.length > 0 || !sessions.isFormToken(session, token))
    throw new ConsoleError('staleForm', 'wrong-form-token');
  return form;
}

/** Why a form is not from a page of this host, as the browser says it; null: it is. */
function findForeignOrigin({ req: { rawHeaders }, publicName }: Exchange): string | null {
  const sites = headerValues(rawHeaders, 'sec-fetch-site');
  if (sites.length > 1 || (sites[0] !== undefined && sites[0] !== 'same-origin')) return 'foreign-site';
  const [origin, ...others] = headerValues(rawHeaders, 'origin');
  if (origin === undefined || others.length > 0) return 'no-origin';
  const [, scheme, authority] = /^(https?):\/\/([^/]*)$/.exec(origin) ?? [];
  if (scheme !== publicName.scheme || authority === undefined) return 'foreign-origin';
  const from = parseWebAddress(publicName.scheme, authority);
  const here =
    publicName.authority === null ? null : parseWebAddress(publicName.scheme, publicName.authority);
  return from !== null && here !== null && isSameAddress(from, here) ? null : 'foreign-origin';
}

function refuseUnreadable(error: unknown): never {
  if (error instanceof OciError) throw new ConsoleError('badRequest', error.code.toLowerCase());
  throw error;
}
