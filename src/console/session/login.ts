import type { Authenticator } from '../../auth/authenticator.ts';
import type { TokenHolder } from '../../auth/tokens/registry-tokens.ts';
import { headerValues } from '../../http/raw-headers.ts';
import { refuseLockedOut } from '../../pipeline/authenticate/authenticate.ts';
import { recordPrincipal } from '../../pipeline/exchange.ts';
import { OciError } from '../../registry/error.ts';
import type { MachineToken, User } from '../../registry/principal.ts';
import { links, withQuery } from '../components/links.ts';
import type { ConsoleAnswer } from '../console-answer.ts';
import { ConsoleError } from '../console-error.ts';
import type { ConsolePages, FormVisit, LoginFailure, Place, Visit } from '../visit.ts';
import { safeReturnTo } from './return-to.ts';
import { endedSession, type Sessions } from './sessions.ts';

export type LoginOptions = {
  readonly sessions: Sessions;
  readonly authenticator: Pick<Authenticator, 'authenticate'>;
  /** Of a principal who was just verified; undefined: not any more. */
  readonly holderOf: (principal: User | MachineToken) => TokenHolder | undefined;
  /** The delay of the answer to a locked-out attempt, in milliseconds. */
  readonly lockedOutDelayMs: number;
  readonly page: ConsolePages['login'];
};

/** What is written back of a name that was refused: a page has at most 30 KB. */
const maxShownName = 255;

const statusOf: Readonly<Record<LoginFailure['kind'], number>> = {
  wrong: 403,
  lockedOut: 429,
  busy: 503,
  expired: 403,
};

/** The pages by which a session begins and ends. */
export function createLoginPlaces(options: LoginOptions): readonly Place[] {
  const { sessions } = options;

  const show = (visit: Visit, returnTo: string, name = '', failure: LoginFailure | null = null) => {
    const begun = visit.session === null ? sessions.begin(null) : null;
    const shown = begun === null ? visit : { ...visit, formToken: sessions.formToken(begun.session) };
    return {
      status: failure === null ? 200 : statusOf[failure.kind],
      page: options.page(shown, { returnTo, name, failure }),
      ...(begun && { cookies: [begun.cookie] }),
    };
  };

  /** Has the page ask for itself: then the browser sends its cookie. A new one would end the session of that. */
  const askAgain = (visit: Visit, to: string): ConsoleAnswer => {
    const headers = visit.query.has('again')
      ? {}
      : { Refresh: `0; url=${withQuery(links.login, { to, again: 1 })}` };
    return { page: options.page(visit, { returnTo: to, name: '', failure: null }), headers };
  };

  const logIn = async (visit: FormVisit): Promise<ConsoleAnswer> => {
    const { exchange, form } = visit;
    const returnTo = safeReturnTo(form.get('to'));
    const name = form.get('name') ?? '';
    const outcome = await check(visit, name, form.get('password') ?? '', options);
    if ('principal' in outcome) {
      recordPrincipal(exchange, outcome.principal);
      // Another session, so that nobody else can know its cookie.
      return { redirectTo: returnTo, cookies: [sessions.begin(outcome).cookie] };
    }
    const headers = outcome.kind === 'lockedOut' ? { 'Retry-After': String(outcome.seconds) } : {};
    return { ...show(visit, returnTo, name.slice(0, maxShownName), outcome), headers };
  };

  return [
    {
      pattern: /^login$/,
      isPublic: true,
      get: (visit) => {
        if (visit.exchange.publicName.scheme === 'http') throw new ConsoleError('plainHttp');
        const returnTo = safeReturnTo(visit.query.get('to'));
        if (visit.session?.holder) return { redirectTo: returnTo };
        return hasWithheldCookies(visit) ? askAgain(visit, returnTo) : show(visit, returnTo);
      },
      post: logIn,
    },
    {
      pattern: /^logout$/,
      isPublic: true,
      post: () => ({ redirectTo: '/ui/login?done=loggedOut', cookies: [endedSession] }),
    },
  ];
}

/** Whether a link of another site led here: then browsers keep cookies with SameSite=Strict to themselves. */
function hasWithheldCookies({ session, exchange: { req } }: Visit): boolean {
  const sites = headerValues(req.rawHeaders, 'sec-fetch-site');
  return session === null && sites.some((site) => site === 'cross-site' || site === 'same-site');
}

/** Checks name and password as the registry does: the same lock-outs, in the same time. */
async function check(
  { exchange }: FormVisit,
  name: string,
  password: string,
  { authenticator, holderOf, lockedOutDelayMs }: LoginOptions,
): Promise<TokenHolder | LoginFailure> {
  const fail = (code: 'UNAUTHORIZED' | 'UNAVAILABLE' | 'TOOMANYREQUESTS', failure: LoginFailure) => {
    exchange.errorCode = code;
    return failure;
  };
  try {
    const result = await authenticator.authenticate([basicValue(name, password)], exchange.clientAddress);
    if (result.kind === 'locked-out') return await refuseLockedOut(exchange, result.forMs, lockedOutDelayMs);
    const holder = result.kind === 'verified' ? holderOf(result.principal) : undefined;
    if (holder !== undefined) return holder;
    exchange.reason = result.kind === 'refused' ? result.reason : 'no-credentials';
    return fail('UNAUTHORIZED', { kind: 'wrong' });
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    if (error.code === 'UNAVAILABLE') return fail('UNAVAILABLE', { kind: 'busy' });
    if (error.code !== 'TOOMANYREQUESTS') throw error;
    return fail('TOOMANYREQUESTS', { kind: 'lockedOut', seconds: Number(error.headers['Retry-After'] ?? 1) });
  }
}

/** As in an Authorization field (RFC 7617 section 2): the first colon ends the name, so none can be in it. */
function basicValue(name: string, password: string): string {
  const text = name.includes(':') ? ':' : `${name}:${password}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}
