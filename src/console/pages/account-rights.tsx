import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { Field } from '../components/forms.tsx';
import { links } from '../components/links.ts';

export type RightsAction = 'pull' | 'push' | 'delete' | 'overwrite';

/** What the visitor may do. */
export type Rights =
  /** No policy: all who log in may do all. */
  | { readonly kind: 'all' }
  | {
      readonly kind: 'rules';
      /** The rules that match the visitor, in order; the first that matches a repository decides. */
      readonly rules: readonly {
        /** Counted from 1, over the whole policy. */
        readonly rule: number;
        /** The word of `who` that matches. */
        readonly who: string;
        readonly repositories: readonly string[];
        readonly actions: readonly RightsAction[];
      }[];
      /** An answer about one repository; null: none was asked for. */
      readonly check: {
        readonly repository: string;
        readonly actions: readonly RightsAction[];
        /** Null: none matches, and what none matches is denied. */
        readonly rule: number | null;
      } | null;
      /** What bounds a machine token besides the rules; null: nothing. */
      readonly bound: string | null;
    };

const maxRules = 50;

export function AccountRights({ chrome, rights }: { readonly chrome: Chrome; readonly rights: Rights }) {
  const { t } = chrome;
  return (
    <section aria-labelledby="rights">
      <h2 id="rights">{t.rights.title}</h2>
      {rights.kind === 'all' ? (
        <p>{t.rights.all}</p>
      ) : (
        <>
          <p>{rights.rules.length === 0 ? t.rights.none : t.rights.lead}</p>
          {rights.bound === null ? null : (
            <p>
              <Fill text={t.rights.bound} parts={[<Foreign text={rights.bound} max={400} />]} />
            </p>
          )}
          {rights.rules.length === 0 ? null : <RuleTable chrome={chrome} rules={rights.rules} />}
          <form action={links.account} class="inline">
            <Field
              name="repository"
              label={t.rights.repository}
              value={rights.check?.repository ?? ''}
              autocomplete="off"
              maxLength={255}
              isRequired
            />
            <button>{t.rights.check}</button>
          </form>
          {rights.check === null ? null : <Check chrome={chrome} check={rights.check} />}
        </>
      )}
    </section>
  );
}

type RuleRights = Extract<Rights, { kind: 'rules' }>;

function RuleTable({ chrome, rules }: { readonly chrome: Chrome; readonly rules: RuleRights['rules'] }) {
  const { t, f } = chrome;
  return (
    <table class="cards">
      <caption class="sr">{t.rights.title}</caption>
      <thead>
        <tr>
          <th scope="col">{t.rights.rule}</th>
          <th scope="col">{t.nav.repositories}</th>
          <th scope="col">{t.rights.actions}</th>
          <th scope="col">{t.rights.who}</th>
        </tr>
      </thead>
      <tbody>
        {rules.slice(0, maxRules).map(({ rule, who, repositories, actions }) => (
          <tr key={rule}>
            <th scope="row">{t.rights.ruleNumber(f.count(rule))}</th>
            <td>
              <code>
                <Foreign text={repositories.join(', ')} max={200} />
              </code>
            </td>
            <td>{sayActions(chrome, actions)}</td>
            <td data-l={t.rights.who}>
              <Foreign text={who} max={100} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Check({
  chrome,
  check,
}: {
  readonly chrome: Chrome;
  readonly check: NonNullable<RuleRights['check']>;
}) {
  const { t, f } = chrome;
  return (
    <p role="status">
      <Fill
        text={check.rule === null ? t.rights.noRule : t.rights.byRule(f.count(check.rule))}
        parts={[
          <code>
            <Foreign text={check.repository} max={255} />
          </code>,
          <strong>{sayActions(chrome, check.actions)}</strong>,
        ]}
      />
    </p>
  );
}

function sayActions({ t }: Chrome, actions: readonly RightsAction[]): string {
  return actions.length === 0 ? t.rights.nothing : actions.map((action) => t.actions[action]).join(', ');
}
