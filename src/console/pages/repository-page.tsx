import { quote } from '../../tls/trust.ts';
import type { Chrome } from '../components/chrome.ts';
import { Command } from '../components/command.tsx';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { SearchForm } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links, withQuery } from '../components/links.ts';
import { Names } from '../components/names.tsx';
import { Pagination } from '../components/pagination.tsx';
import { Breadcrumbs, RepositoryName } from '../components/place.tsx';
import { Bytes, Unknown, WhenBy, shortDigest } from '../components/values.tsx';
import type { RepositoryPageModel, TagRow } from '../registry/models.ts';

export type RepositoryPageProps = {
  readonly chrome: Chrome;
  readonly model: RepositoryPageModel;
  readonly mayDelete: boolean;
};

/** Of platforms and of twins, in a row. */
const maxListed = 3;

export function RepositoryPage(props: RepositoryPageProps) {
  const { chrome, model } = props;
  const { t, host } = chrome;
  const isEmpty = model.rows.length === 0 && model.search === '' && model.page === 1;
  return (
    <Layout chrome={chrome} title={model.repository} section="repositories">
      <Breadcrumbs chrome={chrome} />
      <div class="head">
        <h1>
          <RepositoryName name={model.repository} />
        </h1>
        {isEmpty ? null : (
          <SearchForm
            action={links.repository(model.repository)}
            label={t.repository.search}
            value={model.search}
            submit={t.common.search}
          />
        )}
      </div>
      {isEmpty ? (
        <div class="empty">
          <p>{t.repository.empty}</p>
          <Command text={`docker push ${host}/${model.repository}:latest`} />
        </div>
      ) : (
        <Results {...props} />
      )}
    </Layout>
  );
}

function Results({ chrome, model, mayDelete }: RepositoryPageProps) {
  const { t, f, host } = chrome;
  const { repository, rows, search, page } = model;
  const place = links.repository(repository);
  const newest = rows[0];
  return (
    <div id="results">
      {newest === undefined || search !== '' || page > 1 ? null : (
        <Command
          label={t.common.pullCommand}
          text={`docker pull ${quote(`${host}/${repository}:${newest.tag}`)}`}
        />
      )}
      <p class="muted" role="status">
        {t.repository.count(model.total, f.count(model.total))}
        {model.attached === 0 ? null : ` · ${t.repository.attached(f.count(model.attached))}`}
      </p>
      {rows.length === 0 ? (
        <p>
          <Fill text={t.repository.noMatch} parts={[<Foreign text={search} max={200} />]} />{' '}
          <a href={place}>{t.repository.showAll}</a>
        </p>
      ) : (
        <form action={links.compare(repository)}>
          <div class="actions">
            <button>{t.repository.compare}</button>
            {mayDelete ? (
              <button class="danger" formAction={links.delete(repository)}>
                {t.repository.delete}
              </button>
            ) : null}
            <span class="hint">{mayDelete ? t.repository.chooseAny : t.repository.chooseTwo}</span>
          </div>
          <TagTable chrome={chrome} model={model} />
        </form>
      )}
      <Pagination
        chrome={chrome}
        page={page}
        pages={model.pages}
        hasNext={page < model.pages}
        hrefOf={(to) => withQuery(place, { q: search, page: to === 1 ? null : to })}
      />
    </div>
  );
}

function TagTable({ chrome, model }: Pick<RepositoryPageProps, 'chrome' | 'model'>) {
  const { t } = chrome;
  return (
    <table class="cards tags">
      <caption class="sr">{t.repository.tagsOf}</caption>
      <thead>
        <tr>
          <th scope="col">{t.repository.tag}</th>
          <th scope="col" class="n">
            {t.common.size}
          </th>
          <th scope="col">{t.repository.platforms}</th>
          <th scope="col">{t.common.digest}</th>
          <th scope="col">{t.common.pushed}</th>
          <th scope="col">{t.common.pulled}</th>
        </tr>
      </thead>
      <tbody>
        {model.rows.map((row) => (
          <TagLine key={row.tag} chrome={chrome} repository={model.repository} row={row} />
        ))}
      </tbody>
    </table>
  );
}

function TagLine({
  chrome,
  repository,
  row,
}: {
  readonly chrome: Chrome;
  readonly repository: string;
  readonly row: TagRow;
}) {
  const { t } = chrome;
  return (
    <tr>
      <th scope="row">
        <label class="pick">
          <input type="checkbox" name="tag" value={row.tag} />
          <span class="sr">{t.repository.pick}</span>
        </label>
        <a href={links.image(repository, row.tag)}>
          <Foreign text={row.tag} />
        </a>
        {row.twins.items.length > 0 ? (
          <small>
            <Fill
              text={t.repository.twins}
              parts={[<Names chrome={chrome} names={row.twins} max={maxListed} />]}
            />
          </small>
        ) : null}
      </th>
      <td class="n">
        <Bytes chrome={chrome} value={row.bytes} />
      </td>
      <td>
        {row.kind === 'image' || row.kind === 'index' ? (
          <Names chrome={chrome} names={row.platforms} max={maxListed} />
        ) : (
          t.kinds[row.kind]
        )}
      </td>
      <td>{row.digest === null ? <Unknown chrome={chrome} /> : <code>{shortDigest(row.digest)}</code>}</td>
      <td data-l={t.common.pushed}>
        <WhenBy chrome={chrome} ms={row.pushedMs} by={row.pushedBy} />
      </td>
      <td data-l={t.common.pulled}>
        <WhenBy chrome={chrome} ms={row.pulledMs} by={null} />
      </td>
    </tr>
  );
}
