import { countOnPage, pageRows, type RepositoryLists } from '../../inventory/repository-lists.ts';
import type { Policy } from '../../policy/decision.ts';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { ConsoleError } from '../console-error.ts';
import {
  RepositoriesPage,
  type RepositoriesPageProps,
  type RepositorySort,
} from '../pages/repositories-page.tsx';
import { parseForeignObject, readTexts } from '../registry/foreign-json.ts';
import { isFound } from '../registry/found.ts';
import type { Place, Visit } from '../visit.ts';
import type { ChromeOf } from './chrome-of.ts';

type List = RepositoriesPageProps['list'] & { readonly page: number };
type Question = RepositoriesPageProps['question'];

const sorts: readonly RepositorySort[] = ['name', 'pushed', 'pulled', 'size'];
const maxSearchLength = 255;

/** The first page: the repositories that one may pull. @param lists null: there is no record, and names come from the registry */
export function createRepositoriesPlace({
  chromeOf,
  lists,
  policy,
}: {
  readonly chromeOf: ChromeOf;
  readonly lists: Pick<RepositoryLists, 'list'> | null;
  readonly policy: Pick<Policy, 'mayAnywhere'>;
}): Place {
  return {
    pattern: /^$/,
    get: async (visit) => {
      const question = readQuestion(visit.query);
      const recorded = await readRecorded(visit, question, lists);
      const isBehind = recorded !== null && isStillEmpty(recorded, question);
      const list = recorded === null || isBehind ? await readCatalog(visit, question, !isBehind) : recorded;
      const principal = visit.authentication?.principal;
      const mayPush = principal !== undefined && policy.mayAnywhere(principal, 'push');
      return {
        page: (
          <RepositoriesPage
            chrome={chromeOf(visit)}
            question={{ ...question, page: list.page }}
            list={list}
            mayPush={mayPush}
          />
        ),
      };
    },
  };
}

function readQuestion(query: URLSearchParams): Question {
  const page = Number(query.get('page') ?? 1);
  const asked = query.get('sort') ?? '';
  const sort = sorts.find((each) => each === asked.replace(/^-/, '')) ?? 'name';
  return {
    search: (query.get('q') ?? '').slice(0, maxSearchLength),
    sort,
    descending: asked.startsWith('-'),
    page: Number.isSafeInteger(page) && page > 0 ? page : 1,
  };
}

async function readRecorded(
  { authentication }: Visit,
  question: Question,
  lists: Pick<RepositoryLists, 'list'> | null,
): Promise<List | null> {
  if (authentication === null || lists === null) return null;
  const found = await lists.list({ principal: authentication.principal, ...question });
  return (
    found && { ...found, isRecorded: true, next: found.page < found.pages ? { page: found.page + 1 } : null }
  );
}

/** Right after the first start the record knows less than the registry's own list. */
function isStillEmpty({ total, isComplete }: List, { search }: Question): boolean {
  return total === 0 && !isComplete && search === '';
}

/** The names in order, from the one that the page before ended with. @throws ConsoleError */
async function readCatalog(
  { registry, query }: Visit,
  { page }: Question,
  isComplete: boolean,
): Promise<List> {
  const last = query.get('last') ?? '';
  if (last !== '' && !isRepositoryName(last)) throw new ConsoleError('badRequest');
  const from = last === '' ? '' : `&last=${encodeURIComponent(last)}`;
  const answer = await registry.ask('GET', `/v2/_catalog?n=${pageRows}${from}`);
  const names = isFound(answer) ? readTexts(parseForeignObject(answer.body)?.['repositories']) : [];
  const unknown = { tags: null, bytes: null, pushedMs: null, pushedBy: null, pulledMs: null };
  const found = names.filter(isRepositoryName).map((name) => ({ name, ...unknown }));
  const rows = found.slice(0, countOnPage(found));
  const lastShown = rows.at(-1)?.name;
  const hasMore = answer.headers['link'] !== undefined || rows.length < found.length;
  const hasNext = hasMore && lastShown !== undefined;
  return {
    rows,
    ...{ total: null, pages: null, page, asOfMs: null, isComplete, isRecorded: false },
    next: hasNext ? { page: page + 1, last: lastShown } : null,
  };
}
