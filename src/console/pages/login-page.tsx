import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Field } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import type { LoginFailure, ShownLogin } from '../visit.ts';

export type LoginPageProps = { readonly chrome: Chrome } & ShownLogin;

export function LoginPage({ chrome, returnTo, name, failure }: LoginPageProps) {
  const { t, host } = chrome;
  return (
    <Layout chrome={chrome} title={t.login.title} section="login" isNarrow>
      <h1>{t.login.title}</h1>
      <p class="muted">
        <Fill text={t.login.lead} parts={[<strong>{host}</strong>]} />
      </p>
      {failure === null ? null : <Failure chrome={chrome} failure={failure} />}
      <form method="post" action={links.login} class="stack">
        <input type="hidden" name="csrf" value={chrome.csrf} />
        <input type="hidden" name="to" value={returnTo} />
        <Field
          name="name"
          label={t.login.name}
          value={name}
          autocomplete="username"
          maxLength={255}
          isRequired
        />
        <Field
          name="password"
          label={t.login.password}
          isPassword
          autocomplete="current-password"
          hint={t.login.tokenHint}
          isRequired
        />
        <button class="primary">{t.login.submit}</button>
      </form>
      <p class="muted">
        <Fill text={t.login.connectHint} parts={[<a href={links.connect}>{t.nav.connect}</a>]} />
      </p>
    </Layout>
  );
}

function Failure({ chrome: { t, f }, failure }: { readonly chrome: Chrome; readonly failure: LoginFailure }) {
  const minutes = failure.kind === 'lockedOut' ? Math.ceil(failure.seconds / 60) : 0;
  const text = {
    wrong: t.login.wrong,
    lockedOut: t.login.lockedOut(minutes, f.count(minutes)),
    busy: t.login.busy,
    expired: t.login.expired,
  }[failure.kind];
  return <NoticeBox kind={failure.kind === 'expired' ? 'info' : 'failed'}>{text}</NoticeBox>;
}
