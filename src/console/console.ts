import { setImmediate as nextLoopIteration } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AnonymousAt } from '../policy/decision.ts';
import { headerValues } from '../http/raw-headers.ts';
import type { AnswerAs, AnswerConsole } from '../pipeline/answer-console.ts';
import type { Authentication } from '../pipeline/authenticate/authenticate.ts';
import { recordPrincipal, type Exchange } from '../pipeline/exchange.ts';
import { OciError } from '../registry/error.ts';
import type { CanonicalTarget } from '../registry/target.ts';
import { identifyRequest } from '../telemetry/log/access-log.ts';
import { sendAnswer, type ConsoleAnswer, type SendOptions } from './console-answer.ts';
import { ConsoleError, failures, type FailureKind } from './console-error.ts';
import { createInnerRegistry, type InnerRegistryOptions } from './registry/inner-registry.ts';
import { readCheckedForm, type FormOptions } from './requests/checked-form.ts';
import { languageCookies } from './requests/language.ts';
import { createLoginPlaces, type LoginOptions } from './session/login.ts';
import { homePath } from './session/return-to.ts';
import { createSessions, type Session, type SessionsOptions } from './session/sessions.ts';
import type { ConsolePages, Place, Visit } from './visit.ts';

export type ConsoleOptions = SendOptions &
  Pick<LoginOptions, 'authenticator' | 'holderOf' | 'lockedOutDelayMs'> & {
    readonly session: SessionsOptions;
    readonly form: Omit<FormOptions, 'sessions'>;
    readonly registry: InnerRegistryOptions;
    /** Whom the policy decides about where nobody has logged in; null: such a visitor must log in. */
    readonly anonymousAt: AnonymousAt | null;
    readonly pages: ConsolePages;
    readonly logger: Logger;
  };

type Request = { readonly page: string; readonly target: CanonicalTarget };

/** Creates the console: the web page below `/ui/`. Its own error boundary tells errors as pages. */
export function createConsole(options: ConsoleOptions): AnswerConsole {
  const { pages, logger } = options;
  const sessions = createSessions(options.session);
  const registry = createInnerRegistry(options.registry);
  const places = [...createLoginPlaces({ ...options, sessions, page: pages.login }), ...pages.places];
  const form = { ...options.form, sessions };

  const open = (exchange: Exchange, { page, target }: Request, answerAs: AnswerAs): Visit => {
    const session = sessions.read(exchange.req.rawHeaders);
    const authentication = authenticationOf(exchange, session, options.anonymousAt);
    let opened: Visit['registry'] | null = null;
    const client = () => {
      if (authentication === null) throw new ConsoleError('forbidden');
      return (opened ??= registry.open({ exchange, authentication, answerAs }));
    };
    return {
      ...{ exchange, page, session, authentication },
      query: new URLSearchParams(target.raw.slice(target.rawPath.length)),
      registry: { ask: async (...asked) => client().ask(...asked) },
      formToken: session === null ? '' : sessions.formToken(session),
    };
  };

  const fail = (visit: Visit, thrown: unknown): ConsoleAnswer => {
    const { exchange } = visit;
    const { kind, reason, headers } = readFailure(thrown);
    const { status, code } = failures[kind];
    exchange.errorCode = code;
    exchange.reason ??= reason;
    const context = { ...identifyRequest(exchange), code };
    if (kind === 'internal') logger.error({ ...context, err: thrown }, 'A page of the console failed.');
    else if (status >= 500) logger.warn({ ...context, reason }, `A page of the console failed: ${kind}.`);
    return { status, page: pages.failure(visit, kind), headers };
  };

  const answer = async (exchange: Exchange, request: Request, answerAs: AnswerAs): Promise<void> => {
    const visit = open(exchange, request, answerAs);
    const { res } = exchange;
    try {
      if (visit.session?.holder) recordPrincipal(exchange, visit.session.holder.principal);
      const found = await answerVisit(visit, request.target, { places, form });
      if (!res.destroyed) sendAnswer(exchange, found, options);
    } catch (error) {
      if (res.headersSent) throw error;
      // A small form comes with the head, but Node parses it in the next iteration of the loop.
      await nextLoopIteration();
      if (!res.destroyed) sendAnswer(exchange, fail(visit, error), options);
    }
  };

  return async (exchange, { operation, target }, answerAs) => {
    if (operation.kind === 'root' && !wantsPage(exchange)) return false;
    if (operation.kind !== 'root' && operation.kind !== 'console') return false;
    // Pages of other origins read nothing of the console.
    exchange.answerHeaders = {};
    if (operation.kind === 'root') {
      exchange.routeKind = 'console';
      sendAnswer(exchange, { redirectTo: homePath, headers: { Vary: 'Accept' } }, options);
    } else if (operation.page === null && operation.reads)
      sendAnswer(exchange, { redirectTo: homePath }, options);
    else await answer(exchange, { page: operation.page ?? '', target }, answerAs);
    return true;
  };
}

/** Whether it is a browser that asks for `/`. */
function wantsPage({ method, req: { rawHeaders } }: Exchange): boolean {
  return (
    method === 'GET' && headerValues(rawHeaders, 'accept').some((accept) => accept.includes('text/html'))
  );
}

/** What the rest of the pipeline is to know of the visitor; null: nobody, and nobody has no rights. */
function authenticationOf(
  { clientAddress }: Exchange,
  session: Session | null,
  anonymousAt: AnonymousAt | null,
): Authentication | null {
  const known = { keepAuthorization: false, scopes: null } as const;
  if (session?.holder) return { ...known, principal: session.holder.principal, isAnonymous: false };
  return anonymousAt && { ...known, principal: anonymousAt(clientAddress), isAnonymous: true };
}

/** @throws ConsoleError */
async function answerVisit(
  visit: Visit,
  target: CanonicalTarget,
  { places, form }: { readonly places: readonly Place[]; readonly form: FormOptions },
): Promise<ConsoleAnswer> {
  const { exchange, page, session, authentication } = visit;
  const { method } = exchange;
  const place = places.find(({ pattern }) => pattern.test(page));
  if (place === undefined) throw new ConsoleError('notFound');
  const isRead = method === 'GET' || method === 'HEAD';
  const mustLogIn = place.isPublic !== true && authentication === null;
  if (isRead && place.get !== undefined) {
    const login = { redirectTo: `/ui/login?to=${encodeURIComponent(target.raw)}` };
    if (mustLogIn) return login;
    try {
      return withCookies(await place.get(visit), languageCookies(visit));
    } catch (error) {
      if (authentication?.isAnonymous === true && isForbidden(error)) return login;
      throw error;
    }
  }
  if (method !== 'POST' || place.post === undefined) throw new NotAllowed(place);
  const sent = await readCheckedForm(exchange, session, form);
  if (mustLogIn) throw new ConsoleError('staleForm', 'no-session');
  return await place.post({ ...visit, form: sent });
}

function isForbidden(error: unknown): boolean {
  return error instanceof ConsoleError && error.kind === 'forbidden';
}

/** None with a file: a shared cache may keep that. */
function withCookies(answer: ConsoleAnswer, cookies: readonly string[]): ConsoleAnswer {
  if (cookies.length === 0 || 'file' in answer) return answer;
  return { ...answer, cookies: [...(answer.cookies ?? []), ...cookies] };
}

/** The method is not for this page. */
class NotAllowed extends ConsoleError {
  readonly allow: string;

  constructor({ get, post }: Place) {
    super('notAllowed');
    this.allow = [get && 'GET, HEAD', post && 'POST'].filter(Boolean).join(', ');
  }
}

function readFailure(thrown: unknown): {
  readonly kind: FailureKind;
  readonly reason: string | null;
  readonly headers: Readonly<Record<string, string>>;
} {
  if (thrown instanceof NotAllowed)
    return { kind: thrown.kind, reason: null, headers: { Allow: thrown.allow } };
  if (thrown instanceof ConsoleError) return { kind: thrown.kind, reason: thrown.reason, headers: {} };
  if (!(thrown instanceof OciError) || thrown.code === 'UNKNOWN')
    return { kind: 'internal', reason: null, headers: {} };
  const retry = thrown.headers['Retry-After'];
  return {
    kind: thrown.status === 429 || thrown.status === 503 ? 'busy' : 'badRequest',
    reason: thrown.reason,
    headers: retry === undefined ? {} : { 'Retry-After': retry },
  };
}
