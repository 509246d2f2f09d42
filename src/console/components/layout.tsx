import type { ComponentChildren } from 'preact';
import { languageNames, locales } from '../messages/locale.ts';
import type { Chrome } from './chrome.ts';
import { Foreign, visibleText } from './foreign.tsx';
import { CsrfField } from './forms.tsx';
import { Mark } from './icons.tsx';
import { links, withLanguage } from './links.ts';
import { NoticeBox, noticeText } from './notice.tsx';

type Section = 'repositories' | 'clean' | 'connect' | 'account' | 'login';

type LayoutProps = {
  readonly chrome: Chrome;
  /** Stands in the browser's tab, before the host. */
  readonly title: string;
  readonly section?: Section;
  /** A narrow column, for pages with one form. */
  readonly isNarrow?: boolean;
  readonly children: ComponentChildren;
};

/** What stands around every page. */
export function Layout({ chrome, title, section, isNarrow = false, children }: LayoutProps) {
  const { t, locale, host, assets, notice } = chrome;
  return (
    <html lang={locale}>
      <head>
        <meta charSet="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="same-origin" />
        <title>{`${visibleText(title)} · ${host}`}</title>
        <link rel="icon" type="image/svg+xml" href={assets.icon} />
        <link rel="stylesheet" href={assets.style} />
        <script src={assets.script} defer />
      </head>
      <body data-copy-label={t.common.copy} data-copied-label={t.common.copied}>
        <a class="skip" href="#main">
          {t.common.skip}
        </a>
        <Header chrome={chrome} section={section} />
        <main id="main" class={isNarrow ? 'narrow' : undefined} tabIndex={-1}>
          {notice === null ? null : <NoticeBox kind="done">{noticeText(t, notice)}</NoticeBox>}
          {children}
        </main>
        <footer>
          <Languages chrome={chrome} />
        </footer>
      </body>
    </html>
  );
}

function Header({ chrome, section }: { readonly chrome: Chrome; readonly section: Section | undefined }) {
  const { t, host, sections, visitor } = chrome;
  const item = (name: Section, href: string, text: string) => (
    <li>
      <a href={href} aria-current={name === section ? 'true' : undefined}>
        {text}
      </a>
    </li>
  );
  return (
    <header>
      <a class="brand" href={sections.repositories ? links.repositories : links.login}>
        <Mark />
        <span>
          Tidegate <span class="host">{host}</span>
        </span>
      </a>
      <nav aria-label={t.nav.label}>
        <ul>
          {sections.repositories ? item('repositories', links.repositories, t.nav.repositories) : null}
          {sections.clean ? item('clean', links.clean, t.nav.clean) : null}
          {item('connect', links.connect, t.nav.connect)}
        </ul>
      </nav>
      <div class="visitor">
        {visitor === null && section === 'login' ? null : visitor === null ? (
          <a href={links.login}>{t.nav.login}</a>
        ) : (
          <>
            <a href={links.account} aria-current={section === 'account' ? 'true' : undefined}>
              <span class="sr">{t.nav.account}: </span>
              <Foreign text={visitor.name} max={40} />
            </a>
            <form method="post" action={links.logout}>
              <CsrfField chrome={chrome} />
              <button class="link">{t.nav.logout}</button>
            </form>
          </>
        )}
      </div>
    </header>
  );
}

/** Links, so that the choice works without a script. */
function Languages({ chrome: { t, locale, path } }: { readonly chrome: Chrome }) {
  return (
    <nav aria-label={t.nav.languages}>
      <ul>
        {locales.map((one) => (
          <li key={one}>
            {one === locale ? (
              <span aria-current="true">{languageNames[one]}</span>
            ) : (
              <a href={withLanguage(path, one)} lang={one} hreflang={one}>
                {languageNames[one]}
              </a>
            )}
          </li>
        ))}
      </ul>
    </nav>
  );
}
