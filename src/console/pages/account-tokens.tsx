import { quote } from '../../tls/trust.ts';
import type { Chrome } from '../components/chrome.ts';
import { Command } from '../components/command.tsx';
import { Fill } from '../components/fill.tsx';
import { Foreign, visibleText } from '../components/foreign.tsx';
import { CsrfField, Field } from '../components/forms.tsx';
import { links } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import { Time, Unknown } from '../components/values.tsx';

export const tokenActions = ['pull', 'push', 'delete'] as const;
export type TokenAction = (typeof tokenActions)[number];
/** Days until a token expires that the form offers; 0: never. */
export const tokenLifetimes = [30, 90, 365, 0] as const;

export type Tokens = {
  /** Null: they can be made here. */
  readonly whyNot: 'token' | 'disabled' | 'readOnly' | null;
  readonly list: readonly {
    readonly name: string;
    readonly repositories: readonly string[];
    readonly actions: readonly TokenAction[];
    readonly createdMs: number | null;
    readonly expiresMs: number | null;
    /** Null: never used, or not known. */
    readonly lastUse: { readonly day: string; readonly address: string } | null;
    /** Those that operators made can be revoked by operators only. */
    readonly isOwn: boolean;
  }[];
  /** Just made: shown this once. */
  readonly made: { readonly name: string; readonly token: string } | null;
  readonly failure: 'name' | 'taken' | 'repositories' | 'actions' | 'tooMany' | null;
  /** What was filled in before it failed. */
  readonly draft: { readonly name: string; readonly repositories: string };
};

/** The visitor's machine tokens. */
export function AccountTokens({ chrome, tokens }: { readonly chrome: Chrome; readonly tokens: Tokens }) {
  const { t } = chrome;
  const { whyNot, list, made } = tokens;
  return (
    <section aria-labelledby="tokens">
      <h2 id="tokens">{t.tokens.title}</h2>
      <p>{t.tokens.lead}</p>
      {made === null ? null : <Made chrome={chrome} made={made} />}
      {list.length === 0 ? (
        <p class="muted">{t.tokens.none}</p>
      ) : (
        <TokenTable chrome={chrome} tokens={tokens} />
      )}
      {whyNot === null ? (
        <NewToken chrome={chrome} tokens={tokens} />
      ) : (
        <p class="muted">{t.tokens.whyNot[whyNot]}</p>
      )}
    </section>
  );
}

type MadeProps = { readonly chrome: Chrome; readonly made: NonNullable<Tokens['made']> };

function Made({ chrome: { t, host }, made: { name, token } }: MadeProps) {
  return (
    <NoticeBox kind="done">
      <p>
        <strong>{t.tokens.made(visibleText(name))}</strong> {t.tokens.shownOnce}
      </p>
      <Command text={token} />
      <Command label={t.tokens.use} text={`docker login -u ${quote(name)} ${host}`} />
    </NoticeBox>
  );
}

function TokenTable({ chrome, tokens }: { readonly chrome: Chrome; readonly tokens: Tokens }) {
  const { t } = chrome;
  return (
    <form method="post" action={links.revokeToken}>
      <CsrfField chrome={chrome} />
      <table class="cards">
        <caption class="sr">{t.tokens.title}</caption>
        <thead>
          <tr>
            <th scope="col">{t.tokens.name}</th>
            <th scope="col">{t.tokens.scope}</th>
            <th scope="col">{t.tokens.expires}</th>
            <th scope="col">{t.tokens.lastUse}</th>
            <th scope="col">
              <span class="sr">{t.tokens.revoke}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {tokens.list.map((token) => (
            <TokenLine key={token.name} chrome={chrome} token={token} mayRevoke={tokens.whyNot === null} />
          ))}
        </tbody>
      </table>
    </form>
  );
}

type TokenLineProps = {
  readonly chrome: Chrome;
  readonly token: Tokens['list'][number];
  readonly mayRevoke: boolean;
};

function TokenLine({ chrome, token, mayRevoke }: TokenLineProps) {
  const { t } = chrome;
  const { name, actions, repositories, expiresMs, lastUse, isOwn } = token;
  const isExpired = expiresMs !== null && expiresMs <= chrome.nowMs;
  return (
    <tr>
      <th scope="row">
        <Foreign text={name} />
      </th>
      <td data-l={t.tokens.scope}>
        {actions.map((action) => t.actions[action]).join(', ')} ·{' '}
        {repositories.includes('**') ? (
          t.tokens.everywhere
        ) : (
          <code>{visibleText(repositories.join(', '))}</code>
        )}
      </td>
      <td data-l={t.tokens.expires}>
        {expiresMs === null ? (
          t.tokens.never
        ) : isExpired ? (
          <strong class="warning">{t.tokens.expired}</strong>
        ) : (
          <Time chrome={chrome} ms={expiresMs} />
        )}
      </td>
      <td data-l={t.tokens.lastUse}>
        {lastUse === null ? (
          <Unknown chrome={chrome} />
        ) : (
          <Fill text={t.tokens.usedFrom} parts={[lastUse.day, <Foreign text={lastUse.address} />]} />
        )}
      </td>
      <td class="end">
        {mayRevoke && isOwn ? (
          <button name="name" value={name} class="danger" aria-label={t.tokens.revokeOne(visibleText(name))}>
            {t.tokens.revoke}
          </button>
        ) : null}
      </td>
    </tr>
  );
}

function NewToken({ chrome, tokens }: { readonly chrome: Chrome; readonly tokens: Tokens }) {
  const { t, f } = chrome;
  const { failure, draft } = tokens;
  return (
    <details open={failure !== null || tokens.list.length === 0}>
      <summary>{t.tokens.create}</summary>
      <form method="post" action={links.tokens} class="stack narrow">
        <CsrfField chrome={chrome} />
        {failure === null ? null : <NoticeBox kind="failed">{t.tokens.failures[failure]}</NoticeBox>}
        <Field
          name="name"
          label={t.tokens.name}
          value={draft.name}
          hint={t.tokens.nameHint}
          autocomplete="off"
          maxLength={64}
          isRequired
        />
        <Field
          name="repositories"
          label={t.tokens.repositories}
          value={draft.repositories}
          hint={t.tokens.repositoriesHint}
          autocomplete="off"
          isRequired
        />
        <fieldset>
          <legend>{t.tokens.actions}</legend>
          {tokenActions.map((action) => (
            <label key={action}>
              <input type="checkbox" name="action" value={action} checked={action === 'pull'} />
              {t.actions[action]}
            </label>
          ))}
        </fieldset>
        <p class="field">
          <label for="f-days">{t.tokens.expires}</label>
          <select id="f-days" name="days">
            {tokenLifetimes.map((days) => (
              <option key={days} value={days} selected={days === 90}>
                {days === 0 ? t.tokens.never : t.tokens.days(f.count(days))}
              </option>
            ))}
          </select>
        </p>
        <button>{t.tokens.create}</button>
      </form>
    </details>
  );
}
