import { quote } from '../../tls/trust.ts';
import type { Chrome } from '../components/chrome.ts';
import { Command } from '../components/command.tsx';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { SearchForm } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links, withQuery } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import { Pagination } from '../components/pagination.tsx';
import { Bytes, Time, Unknown, WhenBy } from '../components/values.tsx';

export type RepositorySort = 'name' | 'pushed' | 'pulled' | 'size';

export type RepositoriesPageProps = {
  readonly chrome: Chrome;
  readonly question: {
    readonly search: string;
    readonly sort: RepositorySort;
    readonly descending: boolean;
    readonly page: number;
  };
  readonly list: {
    readonly rows: readonly {
      readonly name: string;
      readonly tags: number | null;
      readonly bytes: number | null;
      readonly pushedMs: number | null;
      readonly pushedBy: string | null;
      readonly pulledMs: number | null;
    }[];
    /** Null: the registry's own list, which has no end that is known. */
    readonly total: number | null;
    readonly pages: number | null;
    /** When the list was read; null: just now. */
    readonly asOfMs: number | null;
    /** Whether all of the registry has been read once. */
    readonly isComplete: boolean;
    /** Whether pushes, pulls and sizes are recorded. Without a record only names are known, in their order. */
    readonly isRecorded: boolean;
    /** Where the next page is: its number, and the name before its first one where they have no numbers; null: this is the last. */
    readonly next: { readonly page: number; readonly last?: string } | null;
  };
  readonly mayPush: boolean;
};

export function RepositoriesPage(props: RepositoriesPageProps) {
  const { chrome, question, list } = props;
  const { t } = chrome;
  const isEmpty = list.rows.length === 0 && question.search === '' && question.page === 1;
  return (
    <Layout chrome={chrome} title={t.repositories.title} section="repositories">
      <div class="head">
        <h1>{t.repositories.title}</h1>
        {isEmpty && list.isComplete ? null : (
          <SearchForm
            action={links.repositories}
            label={t.repositories.search}
            value={question.search}
            submit={t.common.search}
            hidden={question.sort === 'name' && !question.descending ? {} : { sort: sortValue(question) }}
          />
        )}
      </div>
      {list.isComplete ? null : <NoticeBox kind="info">{t.repositories.importing}</NoticeBox>}
      {isEmpty && list.isComplete ? <Empty {...props} /> : <Results {...props} />}
    </Layout>
  );
}

function Results({ chrome, question, list }: RepositoriesPageProps) {
  const { t, f } = chrome;
  const hrefOf = (page: number) =>
    withQuery(links.repositories, {
      q: question.search,
      sort: sortValue(question) === 'name' ? null : sortValue(question),
      page: page === 1 ? null : page,
      last: page === list.next?.page ? (list.next.last ?? null) : null,
    });
  return (
    <div id="results">
      <p class="muted" role="status">
        {list.total === null ? null : t.repositories.count(list.total, f.count(list.total))}
        {list.asOfMs === null ? null : (
          <>
            {' · '}
            <Fill text={t.common.asOf} parts={[<Time chrome={chrome} ms={list.asOfMs} />]} />
          </>
        )}
      </p>
      {list.isRecorded || !list.isComplete ? null : <p class="muted">{t.repositories.notRecorded}</p>}
      {list.rows.length === 0 ? (
        <p>
          <Fill text={t.repositories.noMatch} parts={[<Foreign text={question.search} max={200} />]} />{' '}
          <a href={links.repositories}>{t.repositories.showAll}</a>
        </p>
      ) : (
        <RepositoryTable chrome={chrome} question={question} list={list} />
      )}
      <Pagination
        chrome={chrome}
        page={question.page}
        pages={list.pages}
        hasNext={list.next !== null}
        hrefOf={hrefOf}
      />
    </div>
  );
}

function RepositoryTable({ chrome, question, list }: Omit<RepositoriesPageProps, 'mayPush'>) {
  const { t, f } = chrome;
  const column = (sort: RepositorySort, text: string, className?: string) => (
    <SortHead chrome={chrome} question={question} sort={sort} text={text} className={className} />
  );
  return (
    <table class="cards">
      <caption class="sr">{t.repositories.title}</caption>
      <thead>
        <tr>
          {column('name', t.repositories.name)}
          {list.isRecorded ? (
            <>
              <th scope="col" class="n">
                {t.repositories.tags}
              </th>
              {column('size', t.common.size, 'n')}
              {column('pushed', t.common.pushed)}
              {column('pulled', t.common.pulled)}
            </>
          ) : null}
        </tr>
      </thead>
      <tbody>
        {list.rows.map((row) => (
          <tr key={row.name}>
            <th scope="row">
              <a href={links.repository(row.name)}>
                <Foreign text={row.name} />
              </a>
            </th>
            {list.isRecorded ? (
              <>
                <td class="n" data-l={t.repositories.tags}>
                  {row.tags === null ? <Unknown chrome={chrome} /> : f.count(row.tags)}
                </td>
                <td class="n" data-l={t.common.size}>
                  <Bytes chrome={chrome} value={row.bytes} />
                </td>
                <td data-l={t.common.pushed}>
                  <WhenBy chrome={chrome} ms={row.pushedMs} by={row.pushedBy} />
                </td>
                <td data-l={t.common.pulled}>
                  <WhenBy chrome={chrome} ms={row.pulledMs} by={null} />
                </td>
              </>
            ) : null}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

type SortHeadProps = Pick<RepositoriesPageProps, 'chrome' | 'question'> & {
  readonly sort: RepositorySort;
  readonly text: string;
  readonly className: string | undefined;
};

/** A link that sorts by this column; by the sorted one, the other way round. Names begin with a, all else with the most. */
function SortHead({ question, sort, text, className }: SortHeadProps) {
  const isSorted = question.sort === sort;
  const descending = isSorted ? !question.descending : sort !== 'name';
  const value = sortValue({ sort, descending });
  return (
    <th
      scope="col"
      class={className}
      aria-sort={isSorted ? (question.descending ? 'descending' : 'ascending') : undefined}
    >
      <a href={withQuery(links.repositories, { q: question.search, sort: value === 'name' ? null : value })}>
        {text}
        {isSorted ? <span aria-hidden="true">{question.descending ? ' ↓' : ' ↑'}</span> : null}
      </a>
    </th>
  );
}

/** `sort=-size` is the largest first. */
function sortValue({
  sort,
  descending,
}: Pick<RepositoriesPageProps['question'], 'sort' | 'descending'>): string {
  return `${descending ? '-' : ''}${sort}`;
}

/** Says what to do next, with commands for this host. */
function Empty({ chrome, mayPush }: RepositoriesPageProps) {
  const { t, host, visitor } = chrome;
  if (!mayPush)
    return (
      <div class="empty">
        <p>{t.empty.nothingToPull}</p>
        <p class="muted">{t.empty.askForRights}</p>
      </div>
    );
  const user = visitor === null ? '' : ` -u ${quote(visitor.name)}`;
  return (
    <div class="empty">
      <p>{t.empty.firstPush}</p>
      <h2>Docker</h2>
      <Command
        text={`docker login${user} ${host}\ndocker tag alpine ${host}/alpine\ndocker push ${host}/alpine`}
      />
      <h2>Podman</h2>
      <Command text={`podman login${user} ${host}\npodman push alpine ${host}/alpine`} />
      <p>
        <Fill text={t.empty.trustFirst} parts={[<a href={links.connect}>{t.nav.connect}</a>]} />
      </p>
    </div>
  );
}
