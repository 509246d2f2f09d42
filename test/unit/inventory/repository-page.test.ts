import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createVisibleRepositories, readRepositoryPage } from '../../../src/inventory/repository-page.ts';
import type { IndexedRepository } from '../../../src/inventory/repository-index.ts';
import { createPolicy } from '../../../src/policy/policy.ts';
import type { Principal } from '../../../src/registry/principal.ts';
import { addresses, machineTokens, policies, repositories, users } from '../../support/policy-model.ts';
import { allOf } from '../../support/inventory.ts';
import { machineToken, user } from '../../support/principals.ts';

const rowOf = (name: string): IndexedRepository => ({
  ...{ name, tags: 1, bytes: 1, pushedMs: null, pushedBy: null, pulledMs: null, listedMs: 1 },
});
const job: Principal = {
  ...{ kind: 'job', issuer: 'github', name: 'acme/app' },
  claims: { repository_owner_id: '1' },
};

describe('which repositories a list shows', () => {
  test('those that the policy lets one pull, whoever asked before', () => {
    fc.assert(
      fc.property(
        policies,
        fc.uniqueArray(repositories, { maxLength: 20 }),
        fc.array(machineTokens, { maxLength: 3 }),
        ({ policy: rules, groups }, names, tokens) => {
          const policy = createPolicy({ rules, groups });
          const visible = createVisibleRepositories(policy);
          const all = names.toSorted().map(rowOf);
          const principals: Principal[] = [
            ...users.map(user),
            ...tokens,
            ...addresses.map((address) => policy.anonymousAt(address)),
            job,
          ];
          // Twice, so that what is remembered of one is not another's.
          for (const principal of [...principals, ...principals]) {
            const expected = all.filter(({ name }) => policy.decide(principal, name).actions.has('pull'));
            assert.deepEqual(visible.of(principal, all), expected);
          }
        },
      ),
    );
  });

  test('tokens of one name with other grants, and jobs with other claims, are not taken for each other', () => {
    const policy = createPolicy({
      groups: {},
      rules: [
        {
          who: [{ oidc: 'github', claims: { repository_owner_id: '1' } }],
          repositories: ['a'],
          actions: ['pull'],
        },
        { who: ['token:ci'], repositories: ['**'], actions: ['pull'] },
      ],
    });
    const visible = createVisibleRepositories(policy);
    const all = ['a', 'b'].map(rowOf);
    const names = (principal: Principal) => visible.of(principal, all).map(({ name }) => name);
    for (const repositories of [['a'], ['b'], ['**']])
      assert.deepEqual(
        names(machineToken('ci', { repositories })),
        repositories[0] === '**' ? ['a', 'b'] : repositories,
      );
    assert.deepEqual(names(job), ['a']);
    assert.deepEqual(names({ ...job, claims: { repository_owner_id: '2' } }), []);
  });

  test('another list of all is filtered again', () => {
    const visible = createVisibleRepositories(
      createPolicy({
        groups: {},
        rules: [{ who: ['authenticated'], repositories: ['team/**'], actions: ['pull'] }],
      }),
    );
    const names = (all: readonly IndexedRepository[]) =>
      visible.of(user('alice'), all).map(({ name }) => name);
    assert.deepEqual(names(['a', 'team/b'].map(rowOf)), ['team/b']);
    assert.deepEqual(names(['a', 'team/b', 'team/c'].map(rowOf)), ['team/b', 'team/c']);
  });

  test('each on one page, with fewer on those with long names', () => {
    const state = { walkedMs: 1, refusedMs: null };
    const shorts = Array.from({ length: 101 }, (_, i) => rowOf(`app-${i + 100}`));
    const longs = Array.from({ length: 60 }, (_, i) => rowOf(`long/${'n'.repeat(248)}${i + 10}`));
    const all = [...shorts, ...longs];
    const pageOf = (page: number) => readRepositoryPage(all, allOf('alice', { page }), state);
    const { pages, total } = pageOf(1);
    const found = Array.from({ length: pages }, (_, index) => pageOf(index + 1).rows);
    assert.deepEqual(
      found.flat().map(({ name }) => name),
      all.map(({ name }) => name),
    );
    assert.equal(total, 161);
    assert.deepEqual(
      found.map(({ length }) => length),
      [50, 50, 26, 25, 10],
    );
    assert.deepEqual(pageOf(99), pageOf(pages));
    assert.deepEqual(readRepositoryPage([], allOf('alice'), state).pages, 1);
  });

  test('10,000 repositories: how long it takes', (t) => {
    const all = Array.from({ length: 10_000 }, (_, i) => rowOf(`team-${i % 100}/app-${i}`)).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    );
    const rules = Array.from({ length: 100 }, (_, i) => ({
      ...{ who: [`group:g${i}`], repositories: [`team-${i}/**`], actions: ['pull'] as const },
    }));
    const groups = Object.fromEntries(rules.map((_, i) => [`g${i}`, i % 2 === 0 ? ['alice'] : ['bob']]));
    const visible = createVisibleRepositories(createPolicy({ rules, groups }));
    const state = { walkedMs: 1, refusedMs: null };
    for (const [what, more] of [
      ['first page', {}],
      ['again', {}],
      ['by size', { sort: 'size', descending: true }],
      ['search', { search: 'APP-77' }],
    ] as const) {
      const before = process.cpuUsage();
      const question = allOf('alice', more);
      const page = readRepositoryPage(visible.of(question.principal, all), question, state);
      const { user: used, system } = process.cpuUsage(before);
      t.diagnostic(`${what}: ${((used + system) / 1000).toFixed(1)} ms of CPU, ${page.total} found`);
      assert.ok(page.total > 0);
    }
  });
});
