import type { ChromeProps } from '../components/chrome.ts';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';

export function LoggedOutPage({ chrome }: ChromeProps) {
  const { t } = chrome;
  return (
    <Layout chrome={chrome} title={t.loggedOut.title} isNarrow>
      <h1>{t.loggedOut.title}</h1>
      <p>{t.loggedOut.sentence}</p>
      <p>
        <a class="button" href={links.login}>
          {t.loggedOut.again}
        </a>
      </p>
    </Layout>
  );
}
