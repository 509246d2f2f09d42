import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { CsrfField, Field } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import { AccountRights, type Rights } from './account-rights.tsx';
import { AccountTokens, type Tokens } from './account-tokens.tsx';

export type AccountPageProps = {
  readonly chrome: Chrome;
  readonly visitor: { readonly name: string; readonly kind: 'user' | 'token' };
  readonly password: {
    /** Null: it can be changed here. */
    readonly whyNot: 'token' | 'readOnly' | null;
    readonly failure: 'wrong' | 'differ' | 'short' | 'long' | 'unfit' | 'busy' | null;
    readonly minLength: number;
  };
  readonly tokens: Tokens;
  readonly rights: Rights;
};

/** What belongs to the visitor: password, machine tokens, and what they may do and why. */
export function AccountPage({ chrome, visitor, password, tokens, rights }: AccountPageProps) {
  const { t } = chrome;
  return (
    <Layout chrome={chrome} title={t.account.title} section="account">
      <h1>{t.account.title}</h1>
      <p class="muted">
        <Fill
          text={visitor.kind === 'user' ? t.account.asUser : t.account.asToken}
          parts={[
            <strong>
              <Foreign text={visitor.name} />
            </strong>,
          ]}
        />
      </p>
      <AccountTokens chrome={chrome} tokens={tokens} />
      <AccountRights chrome={chrome} rights={rights} />
      <Password chrome={chrome} password={password} name={visitor.name} />
    </Layout>
  );
}

type PasswordProps = {
  readonly chrome: Chrome;
  readonly password: AccountPageProps['password'];
  readonly name: string;
};

function Password({ chrome, password, name }: PasswordProps) {
  const { t, f } = chrome;
  const { whyNot, failure, minLength } = password;
  return (
    <section aria-labelledby="password">
      <h2 id="password">{t.password.title}</h2>
      {whyNot !== null ? (
        <p class="muted">{t.password.whyNot[whyNot]}</p>
      ) : (
        <form method="post" action={`${links.password}#password`} class="stack narrow">
          <CsrfField chrome={chrome} />
          {failure === null ? null : (
            <NoticeBox kind="failed">
              {failure === 'short' ? t.password.short(f.count(minLength)) : t.password.failures[failure]}
            </NoticeBox>
          )}
          <input type="hidden" name="name" value={name} autocomplete="username" />
          <Field
            name="current"
            label={t.password.current}
            isPassword
            autocomplete="current-password"
            isRequired
          />
          <Field
            name="new"
            label={t.password.next}
            isPassword
            autocomplete="new-password"
            hint={t.password.hint(f.count(minLength))}
            isRequired
          />
          <Field
            name="repeated"
            label={t.password.repeated}
            isPassword
            autocomplete="new-password"
            isRequired
          />
          <button>{t.password.submit}</button>
        </form>
      )}
    </section>
  );
}
