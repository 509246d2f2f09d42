import type { Chrome } from '../components/chrome.ts';
import { Foreign } from '../components/foreign.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';
import type { FailureKind } from '../console-error.ts';

export type FailurePageProps = {
  readonly chrome: Chrome;
  readonly kind: FailureKind;
  /** For the operator, who finds the log line by it. */
  readonly requestId: string;
};

/** Says what failed, and what to do next. */
export function FailurePage({ chrome, kind, requestId }: FailurePageProps) {
  const { t, sections } = chrome;
  const { title, sentence } = t.failures[kind];
  return (
    <Layout chrome={chrome} title={title} isNarrow>
      <h1>{title}</h1>
      <p>{sentence}</p>
      <p class="buttons">
        {sections.repositories ? (
          <a class="button" href={links.repositories}>
            {t.failure.toRepositories}
          </a>
        ) : (
          <a class="button" href={links.login}>
            {t.nav.login}
          </a>
        )}
      </p>
      <p class="muted">
        {t.failure.request}{' '}
        <code>
          <Foreign text={requestId} max={128} />
        </code>
      </p>
    </Layout>
  );
}
