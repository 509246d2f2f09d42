import type { Chrome } from './chrome.ts';

type PaginationProps = {
  readonly chrome: Chrome;
  readonly page: number;
  /** Null: how many there are is not known. */
  readonly pages: number | null;
  /** Whether another page follows. */
  readonly hasNext: boolean;
  readonly hrefOf: (page: number) => string;
};

export function Pagination({ chrome: { t, f }, page, pages, hasNext, hrefOf }: PaginationProps) {
  if (page <= 1 && !hasNext) return null;
  return (
    <nav class="pages" aria-label={t.pages.label}>
      {page > 1 ? (
        <a rel="prev" href={hrefOf(page - 1)}>
          {t.pages.previous}
        </a>
      ) : null}
      <span>
        {pages === null ? t.pages.page(f.count(page)) : t.pages.pageOf(f.count(page), f.count(pages))}
      </span>
      {hasNext ? (
        <a rel="next" href={hrefOf(page + 1)}>
          {t.pages.next}
        </a>
      ) : null}
    </nav>
  );
}
