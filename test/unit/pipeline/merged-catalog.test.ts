import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  collectMergedCatalog,
  paused,
  tooLong,
  type MergedCatalogOptions,
  type Unlisted,
} from '../../../src/pipeline/authorize/catalog/merged-catalog.ts';
import { createPageCursors } from '../../../src/pipeline/authorize/catalog/page-cursors.ts';
import { createListedRegistry } from '../../../src/pipeline/routes/listed-registries.ts';
import { createRouteTable, type Route } from '../../../src/pipeline/routes/route-table.ts';
import { formatCatalogQuery, type CatalogPage } from '../../../src/registry/lists/catalog.ts';

type Page = CatalogPage | { refused: { status: number; reason: string; rawHeaders: []; body: Buffer } };
/** A registry's list, by its own names. */
type List = (names: readonly string[], size: number) => (query: string) => Page;

const sortKey = (name: string) => name.replaceAll('/', '\0');
const sorted = (names: readonly string[]) => [...names].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));

/** As docker-registry does; `size` is the most it gives. */
const byName: List = (names, size) => (query) => {
  const fields = new URLSearchParams(query);
  const n = Number(fields.get('n') ?? size);
  if (n > size) return { refused: { status: 400, reason: '', rawHeaders: [], body: Buffer.from('no') } };
  const rest = sorted(names).filter((name) => sortKey(fields.get('last') ?? '') < sortKey(name));
  const page = rest.slice(0, n);
  return {
    names: page,
    next: rest.length > n ? formatCatalogQuery({ last: page.at(-1) ?? '', n: String(n) }) : null,
  };
};
/** The same, in pages that are smaller than was asked for. */
const inSmallPages: List = (names, size) => (query) => {
  const last = new URLSearchParams(query).get('last') ?? '';
  const rest = sorted(names).filter((name) => sortKey(last) < sortKey(name));
  const page = rest.slice(0, size);
  return {
    names: page,
    next: rest.length > size ? formatCatalogQuery({ last: page.at(-1) ?? '', n: '9' }) : null,
  };
};
/** Sorts by bytes, so that `a-b` is before `a/b`, and has all in one page. */
const byBytes: List = (names) => (query) => {
  const last = new URLSearchParams(query).get('last') ?? '';
  return { names: [...names].sort().filter((name) => last < name), next: null };
};
/** Has a way of its own to its next part, does not know `last`, and has no order. */
const byToken: List = (names, size) => (query) => {
  const start = Number(new URLSearchParams(query).get('token') ?? 0);
  return {
    names: names.slice(start, start + size),
    next: start + size < names.length ? `token=${start + size}` : null,
  };
};

const cursors = createPageCursors([Buffer.alloc(32, 1)], 'test');

type Registered = { readonly route: Route | null; readonly list: (query: string) => Page };

function routeOf(repositories: readonly string[], stripPrefix: string | null, index: number): Route {
  return {
    name: `route${index}`,
    ...{ repositories, stripPrefix, namespaces: [], hosts: [], readOnly: false },
  };
}

function optionsOf(
  registered: readonly Registered[],
  { shows = () => true, maxPages = 10 }: Partial<Pick<MergedCatalogOptions, 'shows' | 'maxPages'>> = {},
) {
  const table = createRouteTable(
    registered.flatMap(({ route }) => (route === null ? [] : [route])),
    new Set(),
  );
  const lists = new Map(registered.map(({ route, list }) => [route?.name ?? null, list]));
  const asked: string[] = [];
  const asking = { requestUpstream: () => Promise.reject(new Error('not asked')), authorization: null };
  const options: MergedCatalogOptions = {
    registries: registered.map(({ route }) => createListedRegistry(table, route, asking)),
    shows,
    cursors,
    maxPages,
    fetchPage: ({ route }, query) => {
      asked.push(`${route ?? 'upstream'}?${query}`);
      return Promise.resolve(lists.get(route)?.(query) ?? { fault: 'gone' });
    },
  };
  return { options, asked, table };
}

/** Follows the answers to their end. */
async function walk(n: string | null, options: MergedCatalogOptions, byClient = false) {
  const pages: { names: readonly string[]; last: string | null }[] = [];
  const unlisted: Unlisted[] = [];
  let last: string | null = null;
  do {
    assert.ok(pages.length < 400, 'the walk does not end');
    const page = await collectMergedCatalog({ n, last }, options);
    assert.ok(!('refused' in page));
    pages.push(page);
    unlisted.push(...page.unlisted);
    const ownLast: string | null = page.names.at(-1) ?? page.last;
    last = page.last !== null && byClient ? ownLast : page.last;
  } while (last !== null);
  return { pages, names: pages.flatMap((page) => page.names), unlisted };
}

const component = fc.constantFrom('a', 'b', 'aa', 'a-b', 'a.b', 'a_b', 'a0', 'hub', 'z');
const repository = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const names = fc.uniqueArray(repository, { maxLength: 25, size: 'max' });
const prefix = fc.oneof(fc.constant(null), fc.constantFrom('hub', 'a', 'a/b', 'a-b', 'z'));
const pattern = fc.oneof(
  repository,
  repository.map((name) => `${name}/**`),
  repository.map((name) => `${name}*`),
  repository.map((name) => `${name}/*`),
  fc.constantFrom('**', '*', 'a*/**', '**/b', '**/a*/**'),
);
const routeParts = fc.record({ prefix, patterns: fc.array(pattern, { minLength: 1, maxLength: 2 }), names });
/** Such a registry cannot be asked for the names between two patterns. */
const oneRange = fc.record({ prefix, patterns: pattern.map((text) => [text]), names });
const routesOf = (parts: readonly { prefix: string | null; patterns: string[]; names: string[] }[]) =>
  parts.map((each, i) =>
    routeOf(
      each.prefix === null ? each.patterns : each.patterns.map((text) => `${each.prefix}/${text}`),
      each.prefix,
      i,
    ),
  );

function expected(
  own: readonly string[],
  parts: readonly { names: readonly string[] }[],
  routes: readonly Route[],
  shows: (name: string) => boolean,
): string[] {
  const table = createRouteTable(routes, new Set());
  const find = (name: string) => table.find(name);
  const all = [
    ...own.filter((name) => find(name) === null),
    ...routes.flatMap((route, i) =>
      (parts[i]?.names ?? [])
        .map((name) => (route.stripPrefix === null ? name : `${route.stripPrefix}/${name}`))
        .filter((name) => find(name) === route),
    ),
  ];
  return sorted(all.filter(shows));
}
const showing = [
  () => true,
  (name: string) => !name.includes('b'),
  (name: string) => name.startsWith('a'),
] as const;

test('whatever the routes and the registries, the pages together are all names that may be seen, in order, each once', async () => {
  await fc.assert(
    fc.asyncProperty(
      names,
      fc.array(routeParts, { maxLength: 4, size: 'max' }),
      fc.array(fc.constantFrom(byName, inSmallPages), { minLength: 5, maxLength: 5 }),
      fc.integer({ min: 3, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom('1', '2', '3', null),
      fc.constantFrom(...showing),
      fc.boolean(),
      async (own, parts, lists, size, maxPages, n, shows, byClient) => {
        const routes = routesOf(parts);
        const registered = [null, ...routes].map((route, i) => ({
          route,
          list: (lists[i] ?? byName)(i === 0 ? own : (parts[i - 1]?.names ?? []), size),
        }));
        const { options, asked } = optionsOf(registered, { shows, maxPages });
        const walked = await walk(n, options, byClient);
        assert.deepEqual(walked.names, expected(own, parts, routes, shows));
        assert.deepEqual(walked.unlisted, []);
        for (const page of walked.pages) assert.ok(page.names.length <= Number(n ?? 1000));
        // One more each where several begin at the same place, and one where a registry refuses a page of 1000.
        assert.ok(asked.length <= walked.pages.length * (maxPages + 2 * registered.length));
      },
    ),
    { numRuns: 500 },
  );
});

test('the same of registries with an order of their own, as far as the limit allows', async () => {
  await fc.assert(
    fc.asyncProperty(
      names,
      fc.array(oneRange, { maxLength: 3, size: 'max' }),
      fc.array(fc.constantFrom(byName, inSmallPages, byToken), { minLength: 4, maxLength: 4 }),
      fc.integer({ min: 3, max: 30 }),
      fc.constantFrom('1', '2', '3', null),
      fc.constantFrom(...showing),
      async (own, parts, lists, size, n, shows) => {
        const routes = routesOf(parts);
        const registered = [null, ...routes].map((route, i) => ({
          route,
          list: (lists[i] ?? byName)(i === 0 ? own : (parts[i - 1]?.names ?? []), size),
        }));
        const { options } = optionsOf(registered, { shows, maxPages: 200 });
        const walked = await walk(n, options);
        assert.deepEqual(walked.names, expected(own, parts, routes, shows));
        assert.deepEqual(walked.unlisted, []);
      },
    ),
    { numRuns: 500 },
  );
});

describe('a page of several registries', () => {
  const hub = routeOf(['hub/**'], 'hub', 0);
  const quay = routeOf(['quay/**'], 'quay', 1);
  const own = { route: null, list: byName(['app', 'bar', 'hub/hidden', 'web'], 1000) };

  test('asks only for what can be on it', async () => {
    const { options, asked } = optionsOf([
      own,
      { route: hub, list: byName(['library/nginx'], 1000) },
      { route: quay, list: byName(['x/y'], 1000) },
    ]);
    const first = await collectMergedCatalog({ n: '1', last: null }, options);
    assert.ok(!('refused' in first));
    assert.deepEqual([first.names, first.last], [['app'], 'app']);
    assert.deepEqual(asked.splice(0), ['upstream?n=1000']);
    const second = await collectMergedCatalog({ n: '2', last: 'hub/library/nginx' }, options);
    assert.ok(!('refused' in second));
    assert.deepEqual([second.names, second.last], [['quay/x/y', 'web'], null]);
    assert.deepEqual(asked.splice(0), [
      'upstream?last=hub%2Flibrary%2Fnginx&n=1000',
      'route0?last=library%2Fnginx&n=1000',
      'route1?n=1000',
    ]);
    await collectMergedCatalog({ n: null, last: 'z' }, options);
    assert.deepEqual(asked, ['upstream?last=z&n=1000']);
  });

  test('of 64 registries reads no more pages than the limit', async () => {
    const routes = Array.from({ length: 64 }, (_, i) => routeOf([`r${i}/**`], `r${i}`, i));
    const { options, asked } = optionsOf([
      own,
      ...routes.map((route) => ({ route, list: byName(['x'], 1000) })),
    ]);
    const first = await collectMergedCatalog({ n: null, last: null }, options);
    assert.ok(!('refused' in first));
    assert.equal(asked.length, 10);
    assert.equal(first.names.length, 3 + 9);
    const { names: all, pages } = await walk(null, options);
    assert.equal(all.length, 4 + 64);
    assert.deepEqual(all, sorted(all));
    assert.ok(pages.length <= 9, `${pages.length} pages`);
  });

  test('counts no page of a registry that was not asked', async () => {
    const routes = Array.from({ length: 64 }, (_, i) => routeOf([`r${i}/**`], `r${i}`, i));
    const { options } = optionsOf([own, ...routes.map((route) => ({ route, list: byName(['x'], 1000) }))]);
    const page = await collectMergedCatalog(
      { n: null, last: null },
      {
        ...options,
        fetchPage: (registry, query) =>
          Number(registry.route?.slice('route'.length)) < 60
            ? Promise.resolve({ fault: paused })
            : options.fetchPage(registry, query),
      },
    );
    assert.ok(!('refused' in page));
    assert.deepEqual([page.names.length, page.last, page.unlisted.length], [4 + 4, null, 60]);
  });

  const endless: (query: string) => Page = (() => {
    let count = 0;
    return () => ({ names: [`x${(count += 1)}`], next: `page=${count}` });
  })();
  for (const [name, list] of [
    ['links to itself', () => ({ names: ['x'], next: 'n=1000' })],
    ['links to nothing new, in ever new words', endless],
    ['repeats a name', () => ({ names: ['x', 'x', 'x', 'w'], next: null })],
    ['has empty pages', () => ({ names: [], next: `page=${Math.random()}` })],
    [
      'has names that are none',
      () => ({ names: ['X', '../app', '', 'a\0b', 'x\n', 'x'.repeat(255), '~', 'é'], next: null }),
    ],
  ] as const satisfies readonly (readonly [string, (query: string) => Page])[])
    test(`a registry that ${name} adds only what is its own`, async () => {
      const { options, asked } = optionsOf([own, { route: hub, list }]);
      const { names: all, pages } = await walk(null, options);
      assert.deepEqual(
        all.filter((each) => !/^hub\/[wx]\d*$/.test(each)),
        ['app', 'bar', 'web'],
      );
      assert.deepEqual(all, [...new Set(all)]);
      assert.ok(pages.length <= 2);
      assert.ok(asked.length <= 10 * pages.length);
    });

  test('goes on with the others where one has too long a list in an order of its own', async () => {
    const many = Array.from({ length: 40 }, (_, i) => `n${i}`).reverse();
    const { options } = optionsOf([own, { route: hub, list: byToken(many, 1) }], { maxPages: 5 });
    const { names: all, unlisted } = await walk('3', options);
    assert.deepEqual(
      all.filter((name) => !name.startsWith('hub/')),
      ['app', 'bar', 'web'],
    );
    assert.deepEqual([...new Set(unlisted.map(({ fault }) => fault))], [tooLong]);
  });

  test('has one order, also where a registry sorts by bytes', async () => {
    const { options } = optionsOf([
      { route: null, list: byBytes(['a', 'a-b', 'a/b', 'hub-tools'], 1000) },
      { route: hub, list: byBytes(['x', 'x-y', 'x/y'], 1000) },
    ]);
    assert.deepEqual((await walk(null, options)).names, [
      ...['a', 'a/b', 'a-b', 'hub/x', 'hub/x/y', 'hub/x-y', 'hub-tools'],
    ]);
  });

  test('is without those of a registry that fails', async () => {
    const { options } = optionsOf([
      own,
      {
        route: hub,
        list: () => ({ refused: { status: 404, reason: '', rawHeaders: [], body: Buffer.of() } }),
      },
      { route: quay, list: byName(['x'], 1000) },
    ]);
    const page = await collectMergedCatalog({ n: null, last: null }, options);
    assert.ok(!('refused' in page));
    assert.deepEqual([page.names, page.last], [['app', 'bar', 'quay/x', 'web'], null]);
    assert.deepEqual(
      page.unlisted.map(({ registry, fault }) => [registry.route, fault]),
      [['route0', 'it answered 404']],
    );
  });
});
