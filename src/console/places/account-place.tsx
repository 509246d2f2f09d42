import type { Policy } from '../../policy/decision.ts';
import type { PolicyTexts } from '../../policy/judgement.ts';
import type { Principal } from '../../registry/principal.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { AuditChange } from '../changes/change-audit.ts';
import { minPasswordLength, type OwnPassword, type PasswordFault } from '../changes/own-password.ts';
import type { OwnTokens, TokenDraft, TokenFault } from '../changes/own-tokens.ts';
import { explainRights } from '../changes/rights.ts';
import { links, withQuery } from '../components/links.ts';
import type { ConsoleAnswer } from '../console-answer.ts';
import { ConsoleError } from '../console-error.ts';
import { AccountPage } from '../pages/account-page.tsx';
import { endedSession } from '../session/sessions.ts';
import type { FormVisit, Place, Visit } from '../visit.ts';
import type { ChromeOf } from './chrome-of.ts';

export type AccountPlaceOptions = {
  readonly chromeOf: ChromeOf;
  readonly texts: Pick<PolicyTexts, 'policy' | 'groups'>;
  readonly policy: Policy;
  readonly tokens: OwnTokens;
  readonly password: OwnPassword;
  /** Null: log.audit is off. */
  readonly audit: AuditChange | null;
};

/** What a form did or found wrong. */
type Outcome = {
  readonly passwordFault?: PasswordFault;
  readonly tokenFault?: TokenFault;
  readonly made?: { readonly name: string; readonly token: string };
  readonly draft?: TokenDraft;
};

type Known = Extract<Principal, { kind: 'user' | 'token' }>;

/** The pages about oneself: rights, password, machine tokens. */
export function createAccountPlaces(options: AccountPlaceOptions): readonly Place[] {
  return [
    { pattern: /^account$/, get: (visit) => show(visit, options) },
    { pattern: /^account\/password$/, post: (visit) => changePassword(visit, options) },
    { pattern: /^account\/tokens$/, post: (visit) => makeToken(visit, options) },
    { pattern: /^account\/tokens\/revoke$/, post: (visit) => revokeToken(visit, options) },
  ];
}

/** Who has an account: an anonymous visitor has none, and a job does not log in. @throws ConsoleError */
function visitorOf({ authentication }: Visit): Known {
  const principal = authentication?.principal;
  if (principal?.kind !== 'user' && principal?.kind !== 'token') throw new ConsoleError('forbidden');
  return principal;
}

/** @throws ConsoleError */
function userOf(visit: Visit) {
  const visitor = visitorOf(visit);
  if (visitor.kind !== 'user') throw new ConsoleError('forbidden');
  return visitor;
}

async function show(
  visit: Visit,
  options: AccountPlaceOptions,
  outcome: Outcome = {},
): Promise<ConsoleAnswer> {
  const { chromeOf, texts, policy, tokens, password } = options;
  const visitor = visitorOf(visit);
  const isUser = visitor.kind === 'user';
  const [canChangePassword, canChangeTokens, list] = await Promise.all([
    password.canChange(),
    tokens.canChange(),
    isUser ? tokens.list(visitor.name) : [],
  ]);
  const whyNot = (canChange: boolean) => (isUser ? (canChange ? null : 'readOnly') : 'token');
  const { passwordFault = null, tokenFault = null, made = null, draft } = outcome;
  return {
    ...((passwordFault ?? tokenFault) === null ? {} : { status: 422 }),
    page: (
      <AccountPage
        chrome={chromeOf(visit)}
        visitor={visitor}
        password={{ whyNot: whyNot(canChangePassword), failure: passwordFault, minLength: minPasswordLength }}
        tokens={{
          whyNot: whyNot(canChangeTokens),
          list,
          made,
          failure: tokenFault,
          draft: { name: draft?.name ?? '', repositories: draft?.repositories ?? '' },
        }}
        rights={explainRights(texts, policy, visitor, visit.query.get('repository') ?? '')}
      />
    ),
  };
}

async function changePassword(visit: FormVisit, options: AccountPlaceOptions): Promise<ConsoleAnswer> {
  const { exchange, form } = visit;
  const user = userOf(visit);
  const [current, next, repeated] = ['current', 'new', 'repeated'].map((name) => form.get(name) ?? '') as [
    string,
    string,
    string,
  ];
  const address = exchange.clientAddress;
  const fault = await auditFailure(visit, 'password', options, () =>
    options.password.change(user, { current, next, repeated, address }),
  );
  options.audit?.(exchange, user, 'password', fault === null ? 'success' : 'failure');
  if (fault !== null) return show(visit, options, { passwordFault: fault });
  // The session ends with the password that it was begun with, but not before each worker knows of that.
  return { redirectTo: withQuery(links.login, { done: 'passwordChanged' }), cookies: [endedSession] };
}

async function makeToken(visit: FormVisit, options: AccountPlaceOptions): Promise<ConsoleAnswer> {
  const { exchange, form } = visit;
  const user = userOf(visit);
  const draft: TokenDraft = {
    name: (form.get('name') ?? '').trim(),
    repositories: form.get('repositories') ?? '',
    actions: form.getAll('action'),
    days: Number(form.get('days') ?? 90),
  };
  const made = await auditFailure(visit, 'token-made', options, () => options.tokens.make(user, draft));
  if ('fault' in made) return show(visit, options, { tokenFault: made.fault, draft });
  const { name, grant } = made.entry.principal;
  const { repositories, actions } = grant;
  options.audit?.(exchange, user, 'token-made', 'success', { token: name, repositories, actions });
  return show(visit, options, { made: { name, token: made.token } });
}

async function revokeToken(visit: FormVisit, options: AccountPlaceOptions): Promise<ConsoleAnswer> {
  const user = userOf(visit);
  const name = visit.form.get('name') ?? '';
  const isRevoked = await auditFailure(visit, 'token-revoked', options, () =>
    options.tokens.revoke(user.name, name),
  );
  if (!isRevoked) throw new ConsoleError('notFound');
  options.audit?.(visit.exchange, user, 'token-revoked', 'success', { token: name });
  return { redirectTo: withQuery(links.account, { done: 'tokenRevoked', of: name }) };
}

/** A file that cannot be written is told to the operator by the log line; the visitor hears that it failed. */
async function auditFailure<T>(
  visit: FormVisit,
  change: Parameters<AuditChange>[2],
  { audit }: AccountPlaceOptions,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    audit?.(visit.exchange, visitorOf(visit), change, 'failure');
    if (error instanceof OperatorError) throw new ConsoleError('internal', error.message.slice(0, 200));
    throw error;
  }
}
