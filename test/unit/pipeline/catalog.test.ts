import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatCatalogQuery,
  parseCatalogPage,
  parseCatalogQuery,
} from '../../../src/registry/lists/catalog.ts';
import { OciError } from '../../../src/registry/error.ts';
import { createPolicy, type RuleText } from '../../../src/policy/policy.ts';
import { collectCatalog, type CatalogOptions } from '../../../src/pipeline/authorize/catalog/catalog.ts';
import { createPageCursors } from '../../../src/pipeline/authorize/catalog/page-cursors.ts';
import { principalOf } from '../../support/principals.ts';

type AskPage = CatalogOptions['fetchPage'];

/** As docker-registry sorts: "/" before everything else. */
const sortKey = (name: string) => name.replaceAll('/', '\0');
const isBefore = (one: string, other: string) => sortKey(one) < sortKey(other);
const sorted = (names: readonly string[]) => [...names].sort((a, b) => (isBefore(a, b) ? -1 : 1));

const refused = (status: number) => ({
  refused: { status, reason: '', rawHeaders: [], body: Buffer.from('no') },
});

/** Gives names after `last`, as docker-registry does. */
const byName =
  (names: readonly string[], maxSize: number): AskPage =>
  (query) => {
    const fields = new URLSearchParams(query);
    const size = Number(fields.get('n') ?? 3);
    if (size > maxSize) return Promise.resolve(refused(400));
    const rest = sorted(names).filter((name) => isBefore(fields.get('last') ?? '', name));
    const page = rest.slice(0, size);
    const next = rest.length > size ? formatCatalogQuery({ last: page.at(-1) ?? '', n: String(size) }) : null;
    return Promise.resolve({ names: page, next });
  };

/** Has a way of its own to its next part, and does not know `last`. */
const byToken =
  (names: readonly string[], size: number): AskPage =>
  (query) => {
    const start = Number(new URLSearchParams(query).get('token') ?? 0);
    const next = start + size < names.length ? `token=${start + size}` : null;
    return Promise.resolve({ names: sorted(names).slice(start, start + size), next });
  };

/** Gives everything always. */
const whole =
  (names: readonly string[]): AskPage =>
  () =>
    Promise.resolve({ names: sorted(names), next: null });

const cursors = createPageCursors([Buffer.alloc(32, 1)]);

/** Follows the answers to their end. */
async function walk(n: string | null, options: Omit<CatalogOptions, 'cursors'>) {
  const pages: { names: readonly string[]; last: string | null }[] = [];
  let last: string | null = null;
  do {
    assert.ok(pages.length < 100, 'the walk does not end');
    const page = await collectCatalog({ n, last }, { ...options, cursors });
    assert.ok(!('refused' in page));
    pages.push(page);
    last = page.last;
  } while (last !== null);
  return pages;
}

const component = fc.constantFrom('a', 'b', 'aa', 'a-b', 'a.b', 'a_b', 'a0', 'team');
const repository = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const pattern = fc.oneof(
  repository,
  repository.map((name) => `${name}/**`),
  repository.map((name) => `${name}/*`),
  fc.constantFrom('**', '*', 'a*/**', '**/b', '**/a*/**', '${user}/**'),
);
const rule: fc.Arbitrary<RuleText> = fc.record({
  who: fc.constantFrom(['user:team', 'anonymous'], ['authenticated'], ['user:other'], ['anonymous']),
  repositories: fc.array(pattern, { minLength: 1, maxLength: 3 }),
  actions: fc.constantFrom(['pull'], ['push'], [], ['pull', 'push'], ['pull', 'delete']),
});
const upstreams: readonly ((names: readonly string[], size: number) => AskPage)[] = [
  byName,
  byToken,
  whole,
  (names) => byName(names, 1000),
];

test('whatever the rules, the pages and the registry, the pages together are what may be pulled, in order, each once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(repository, { maxLength: 30, size: 'max' }),
      fc.array(rule, { minLength: 1, maxLength: 5, size: 'max' }),
      fc.constantFrom('team', null),
      fc.constantFrom(...upstreams),
      fc.integer({ min: 3, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom('1', '2', '3', null),
      async (names, rules, user, createUpstream, upstreamSize, maxPages, n) => {
        const policy = createPolicy({ rules, groups: {} });
        const shows = (name: string) => policy.decide(principalOf(user), name).actions.has('pull');
        const upstream = createUpstream(names, upstreamSize);
        let asked = 0;
        const fetchPage: AskPage = async (query) => {
          const page = await upstream(query);
          if (!('refused' in page)) asked += 1;
          return page;
        };
        const pages = await walk(n, { fetchPage, shows, maxPages });
        assert.deepEqual(
          pages.flatMap((page) => page.names),
          sorted(names).filter(shows),
        );
        assert.ok(asked <= pages.length * maxPages);
        for (const page of pages) {
          assert.ok(page.names.length <= Number(n ?? 1000));
          if (page.last !== null && !page.last.startsWith('~')) assert.equal(page.last, page.names.at(-1));
        }
      },
    ),
    { numRuns: 200 },
  );
});

describe('one page', () => {
  const names = ['open/1', 'open/2', 'open/3', 'secret/1', 'secret/2', 'secret/3', 'shown'];
  const shows = (name: string) => !name.startsWith('secret/');
  const collect = (n: string | null, last: string | null, fetchPage: AskPage, maxPages = 10) =>
    collectCatalog({ n, last }, { fetchPage, shows, cursors, maxPages });

  test('names the last name that it has, and none when nothing follows that may be seen', async () => {
    const upstream = byName(names, 1000);
    assert.deepEqual(await collect('3', null, upstream), {
      names: names.slice(0, 3),
      size: 3,
      last: 'open/3',
    });
    assert.deepEqual(await collect('4', null, upstream), {
      names: ['open/1', 'open/2', 'open/3', 'shown'],
      size: 4,
      last: null,
    });
    const hidesLast = (name: string) => name.startsWith('open/');
    const page = await collectCatalog(
      { n: '3', last: null },
      { fetchPage: upstream, shows: hidesLast, cursors, maxPages: 1 },
    );
    assert.deepEqual(page, { names: names.slice(0, 3), size: 3, last: null });
  });

  test('says nothing of a hidden name where the work for one request ends', async () => {
    const page = await collect('2', 'open/3', byName(names, 2), 1);
    assert.ok(!('refused' in page));
    assert.deepEqual(page.names, []);
    assert.match(page.last ?? '', /^~[\w-]{300,}$/);
    const longer = await collect('2', 'open/3', byName([...names, `secret/2${'x'.repeat(120)}`], 2), 1);
    assert.ok(!('refused' in longer));
    assert.equal(longer.last?.length, page.last?.length);
    assert.deepEqual(await collect('2', page.last, byName(names, 2), 1), {
      names: ['shown'],
      size: 2,
      last: null,
    });
  });

  test('is the same whether a hidden name is there or not, when a client says that it saw it last', async () => {
    const there = await collect(null, 'secret/2', whole(names));
    const notThere = await collect(null, 'secret/2', whole(names.filter((name) => name !== 'secret/2')));
    assert.deepEqual(there, notThere);
  });

  test('of a sealed place that nobody here has sealed there is none', async () => {
    const elsewhere = createPageCursors([Buffer.alloc(32, 2)]).seal({ query: 'last=secret/1', after: null });
    for (const last of ['~', '~AAAA', `~${'A'.repeat(400)}`, elsewhere])
      await assert.rejects(
        collect('2', last, byName(names, 1000)),
        (error) => error instanceof OciError && error.code === 'BAD_REQUEST',
      );
  });

  for (const [n, asked] of [
    [null, ['n=1000']],
    ['2', ['n=1000']],
    ['1000', ['n=1000']],
    ['1001', ['n=1001']],
    ['-1', ['n=-1']],
    ['x&y', ['n=x%26y']],
    ['99999999999', ['n=99999999999']],
  ] as const) {
    test(`n=${n} asks the registry for ${asked.join()}`, async () => {
      const queries: string[] = [];
      await collect(n, null, (query) => {
        queries.push(query);
        return Promise.resolve({ names, next: null });
      });
      assert.deepEqual(queries, asked);
    });
  }

  test('n=0 has no name and nothing after it', async () => {
    assert.deepEqual(await collect('0', null, byName(names, 1000)), { names: [], size: 0, last: null });
  });

  test('asks as the client did when the registry gives fewer at a time, and passes on what it refuses then', async () => {
    const queries: string[] = [];
    const only = (maxSize: number): AskPage => {
      const upstream = byName(names, maxSize);
      return (query) => {
        queries.push(query);
        return upstream(query);
      };
    };
    const page = await collect('3', null, only(4));
    assert.ok(!('refused' in page));
    assert.deepEqual(queries, ['n=1000', 'n=3', 'last=open%2F3&n=3', 'last=secret%2F3&n=3']);
    assert.equal(page.last, 'open/3');
    const none = await collect('5', null, only(4));
    assert.deepEqual(none, refused(400));
  });

  test('leaves out what is no name of a repository', async () => {
    const fetchPage: AskPage = () =>
      Promise.resolve({ names: ['Open/1', 'open/../secret/1', 'open\nx', '', 'open/1'], next: null });
    assert.deepEqual(await collect(null, null, fetchPage), { names: ['open/1'], size: 1000, last: null });
  });
});

describe('what is read', () => {
  const read = (body: string, ...links: string[]) =>
    parseCatalogPage(
      links.flatMap((link) => ['Link', link]),
      Buffer.from(body),
    );
  const list = '{"repositories":["a"]}';

  for (const [link, next] of [
    ['</v2/_catalog?last=a%2Fb&n=3>; rel="next"', 'last=a%2Fb&n=3'],
    ['<http://10.0.0.1:5000/v2/_catalog?n=3&last=a>;rel=next', 'n=3&last=a'],
    ['</v2/_catalog?n=1>; rel="prev", </v2/_catalog?n=2>; rel="next"', 'n=2'],
    ['</v2/_catalog?n=1>; rel="prev"', null],
    ['<?n=1#there>; title="x"; rel="next"', 'n=1'],
  ] as const) {
    test(link, () => assert.equal(read(list, link).next, next));
  }

  test('nothing in the list', () => {
    assert.deepEqual(read('{"repositories":null}'), { names: [], next: null });
  });

  for (const body of [
    '',
    'nonsense',
    'null',
    '[]',
    '{}',
    '{"repositories":{}}',
    '{"repositories":["a",1]}',
    '"x"',
  ]) {
    test(`not ${JSON.stringify(body)}`, () => {
      assert.throws(() => read(body), RangeError);
    });
  }

  test('no Link without a query', () => {
    assert.throws(() => read(list, '</v2/_catalog>; rel="next"'), RangeError);
  });

  test('the first of each field of the query, decoded', () => {
    const target = (query: string) => ({ raw: `/v2/_catalog${query}`, rawPath: '/v2/_catalog', path: '' });
    assert.deepEqual(parseCatalogQuery(target('')), { n: null, last: null });
    assert.deepEqual(parseCatalogQuery(target('?n=&last=')), { n: null, last: null });
    assert.deepEqual(parseCatalogQuery(target('?last=a%2Fb&%6e=2&n=3')), { n: '2', last: 'a/b' });
  });
});
