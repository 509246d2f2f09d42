import type { Chrome } from './chrome.ts';
import { Foreign } from './foreign.tsx';
import { links } from './links.ts';

type BreadcrumbsProps = {
  readonly chrome: Chrome;
  /** For pages below a repository. */
  readonly repository?: string;
  /** For pages below an image. */
  readonly reference?: string;
};

/** The way to this page, which itself is the heading. */
export function Breadcrumbs({ chrome: { t }, repository, reference }: BreadcrumbsProps) {
  return (
    <nav class="breadcrumbs" aria-label={t.nav.breadcrumbs}>
      <ol>
        <li>
          <a href={links.repositories}>{t.nav.repositories}</a>
        </li>
        {repository === undefined ? null : (
          <li>
            <a href={links.repository(repository)}>
              <Foreign text={repository} />
            </a>
          </li>
        )}
        {repository === undefined || reference === undefined ? null : (
          <li>
            <a href={links.image(repository, reference)}>
              <Foreign text={reference} />
            </a>
          </li>
        )}
      </ol>
    </nav>
  );
}

/** The last part stands out. */
export function RepositoryName({ name }: { readonly name: string }) {
  const end = name.lastIndexOf('/') + 1;
  return (
    <>
      {end === 0 ? null : (
        <span class="muted">
          <Foreign text={name.slice(0, end)} />
        </span>
      )}
      <Foreign text={name.slice(end)} />
    </>
  );
}
