import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { PolicyAction } from '../../../src/policy/decision.ts';
import { createPolicy, type RuleText } from '../../../src/policy/policy.ts';
import { addresses, mayDo, policies, repositories, users } from '../../support/policy-model.ts';
import { anonymous } from '../../../src/registry/principal.ts';
import { parseTagPattern } from '../../../src/policy/tag-pattern.ts';
import { machinesNamed, principalOf, user } from '../../support/principals.ts';

const rule = (who: string, repositories: string, actions: string): RuleText => ({
  who: who.split(' '),
  repositories: repositories.split(' '),
  actions: actions === '' ? [] : (actions.split(' ') as PolicyAction[]),
});
const rules = [
  rule('group:admins', '**', 'pull push delete overwrite'),
  rule('user:eve', 'shared/secret', ''),
  rule('group:ci user:dora', 'team-a/** base/*', 'pull push'),
  rule('anonymous', 'public/**', 'pull'),
  rule('user:${user}', 'home/${user}/** ${user}', 'pull push'),
  rule('authenticated', 'shared/**', 'pull'),
];
const groups = { ci: ['builder', 'anonymous', 'a.b'], admins: ['alice'], authenticated: ['mallory'] };
const policy = createPolicy({ rules, groups });

describe('the first rule that matches decides', () => {
  for (const [name, repository, number, actions] of [
    ['alice', 'anything/at/all', 1, 'pull push delete overwrite'],
    ['builder', 'team-a/x/y', 3, 'pull push'],
    ['dora', 'base/x', 3, 'pull push'],
    ['dora', 'base/x/y', null, ''],
    ['builder', 'team-a', null, ''],
    ['eve', 'shared/secret', 2, ''],
    ['bob', 'shared/secret', 6, 'pull'],
    ['eve', 'shared/secrets', 6, 'pull'],
    [null, 'public/x', 4, 'pull'],
    [null, 'shared/x', null, ''],
    ['bob', 'public/x', null, ''],
    ['bob', 'home/bob/x', 5, 'pull push'],
    ['bob', 'bob', 5, 'pull push'],
    ['bob', 'home/alice/x', null, ''],
    ['a.b', 'home/a.b/x', 5, 'pull push'],
    ['a.b', 'home/a-b/x', null, ''],
    // A name is a name, whatever it looks like.
    ['anonymous', 'public/x', null, ''],
    ['anonymous', 'team-a/x', 3, 'pull push'],
    ['authenticated', 'team-a/x', null, ''],
    ['${user}', 'home/${user}/x', null, ''],
    ['group:admins', 'team-a/x', null, ''],
    ['*', 'home/bob/x', null, ''],
    ['**', 'home/bob/x', null, ''],
    ['bob/x', 'home/bob/x/y', null, ''],
    ['Bob', 'home/Bob/x', null, ''],
    ['mallory', 'team-a/x', null, ''],
    ['', 'public/x', null, ''],
    [null, 'home/null/x', null, ''],
  ] as const satisfies (readonly [string | null, string, number | null, string])[]) {
    test(`${String(name)} in ${repository}`, () => {
      for (const time of ['first', 'remembered']) {
        const decision = policy.decide(principalOf(name), repository);
        assert.deepEqual([decision.rule, [...decision.actions].join(' ')], [number, actions], time);
      }
    });
  }
});

describe('a machine token and a job are no users', () => {
  const every = rule(
    'authenticated user:${user} user:ci group:ci',
    '** ${user} home/${user}/**',
    'pull push',
  );
  const all = createPolicy({ rules: [every], groups: { ci: ['ci'] } });
  for (const machine of machinesNamed('ci')) {
    test(`no rule means a ${machine.kind} by a user's name, nor as one who did not say who it is`, () => {
      assert.equal(all.decide(user('ci'), 'ci').rule, 1);
      for (const each of [all, policy])
        for (const repository of ['ci', 'home/ci/x', 'public/x', 'team-a/x']) {
          assert.deepEqual(each.decide(machine, repository), { rule: null, actions: new Set() });
        }
      assert.deepEqual([...all.decideForAll(machine).actions], []);
      assert.equal(all.mayAnywhere(machine, 'pull'), false);
    });

    test(`what is remembered of a user is not a ${machine.kind}'s`, () => {
      const some = createPolicy({ rules: [rule('authenticated', '**', 'pull')], groups: {} });
      assert.deepEqual(
        [user('ci'), machine, user('ci'), machine].map((each) => some.decide(each, 'a').rule),
        [1, null, 1, null],
      );
    });
  }
});

describe('a rule for a network', () => {
  const inside = rule('network:10.0.0.0/8 network:2001:db8::/32', 'hub/**', 'pull');
  const mirror = createPolicy({ rules: [inside, rule('network:10.1.0.0/16', '**', 'pull')], groups: {} });
  const decideAt = (address: string, repository: string) =>
    mirror.decide(mirror.anonymousAt(address), repository).rule;

  test('matches clients without credentials in it alone', () => {
    for (const [address, repository, number] of [
      ['10.2.3.4', 'hub/x', 1],
      ['10.1.3.4', 'hub/x', 1],
      ['10.1.3.4', 'other', 2],
      ['10.2.3.4', 'other', null],
      ['11.1.3.4', 'hub/x', null],
      ['::ffff:10.2.3.4', 'hub/x', 1],
      ['::ffff:a02:304', 'hub/x', 1],
      ['::10.2.3.4', 'hub/x', null],
      ['2001:db8::7', 'hub/x', 1],
      ['2001:db9::7', 'hub/x', null],
      ['', 'hub/x', null],
    ] as const)
      for (const time of ['first', 'remembered'])
        assert.equal(decideAt(address, repository), number, `${address} ${time}`);
    assert.equal(mirror.decide(anonymous, 'hub/x').rule, null);
  });

  test('gives nothing to whoever logged in, whatever the name', () => {
    // What is remembered of a network must not be taken for a user's.
    for (const address of ['10.2.3.4', '10.1.2.3']) assert.equal(decideAt(address, 'hub/x'), 1);
    for (const name of ['10.0.0.0/8', 'network', '10.0.0.0/8,10.1.0.0/16', '10.2.3.4'])
      for (const principal of [user(name), ...machinesNamed(name)]) {
        assert.equal(mirror.decide(principal, 'hub/x').rule, null);
        assert.equal(mirror.decideForAll(principal).rule, null);
        assert.equal(mirror.mayAnywhere(principal, 'pull'), false);
      }
  });

  test('counts for what names no repository, and for whether an anonymous client may do anything', () => {
    const at = (address: string) => mirror.anonymousAt(address);
    assert.deepEqual([...mirror.decideForAll(at('10.1.2.3')).actions], ['pull']);
    assert.deepEqual([...mirror.decideForAll(at('10.2.2.3')).actions], []);
    assert.deepEqual(
      ['10.2.2.3', '192.0.2.1'].map((address) => mirror.mayAnywhere(at(address), 'pull')),
      [true, false],
    );
    assert.equal(mirror.hasAnonymous, true);
    assert.equal(
      createPolicy({ rules: [rule('network:10.0.0.0/8', '**', '')], groups: {} }).hasAnonymous,
      false,
    );
    assert.equal(policy.anonymousAt('10.1.2.3'), anonymous, 'no rule asks where a client is');
  });
});

describe('what names no repository', () => {
  const forAll = (name: string | null, ...texts: RuleText[]) => [
    ...createPolicy({ rules: texts, groups }).decideForAll(principalOf(name)).actions,
  ];
  test('asks for every rule up to the one of all repositories', () => {
    const all = rule('authenticated', '**', 'pull push');
    assert.deepEqual(forAll('bob', all), ['pull', 'push']);
    assert.deepEqual(forAll('bob', rule('user:bob', 'a', 'pull'), all), ['pull']);
    assert.deepEqual(forAll('bob', rule('user:eve', 'a', ''), all), ['pull', 'push']);
    assert.deepEqual(forAll('bob', rule('user:bob', 'a', ''), all), []);
    assert.deepEqual(forAll('bob', rule('user:bob', '*', 'pull')), []);
    assert.deepEqual(forAll('Bob', rule('user:Bob', '${user}/**', ''), all), ['pull', 'push']);
    assert.deepEqual(forAll('bob', rule('user:bob', '${user}/**', ''), all), []);
    assert.deepEqual(forAll(null, all), []);
  });
});

test('tells whether strangers may do anything', () => {
  assert.equal(policy.hasAnonymous, true);
  assert.equal(createPolicy({ rules: [rule('anonymous', '**', '')], groups: {} }).hasAnonymous, false);
});

describe('a pattern of tags', () => {
  test('matches repository and tag', () => {
    const pattern = parseTagPattern('*/release:v*');
    assert.equal(pattern.matches('team/release', 'v1.2'), true);
    assert.equal(pattern.matches('team/release', 'latest'), false);
    assert.equal(pattern.matches('team/x/release', 'v1'), false);
    assert.equal(parseTagPattern('**:*').matches('a', 'x'), true);
  });
  for (const text of ['', 'x', 'a:', ':a', 'a:**', 'a:b:c', 'A:b', 'a:b/c', 'home/${user}:v*', 'a/:b']) {
    test(`is refused: ${text}`, () => {
      assert.throws(() => parseTagPattern(text), RangeError);
    });
  }
});

/** More than are filed by their names. */
const crowd = Array.from({ length: 1500 }, (_, i) => `user${i}`);

test('any rules, however they are filed, mean what a model says', () => {
  fc.assert(
    fc.property(
      policies,
      fc.array(repositories, { minLength: 5 }),
      fc.boolean(),
      (drawn, names, isCrowded) => {
        const all = isCrowded
          ? { ...drawn.groups, g: [...(drawn.groups['g'] ?? []), ...crowd] }
          : drawn.groups;
        const compiled = createPolicy({ rules: drawn.policy, groups: all });
        for (const name of [null, ...users, 'user7']) {
          for (const repository of names) {
            const expected = mayDo({ groups: all, policy: drawn.policy }, name, repository);
            assert.deepEqual([...compiled.decide(principalOf(name), repository).actions], expected);
          }
        }
        for (const address of addresses) {
          const client = compiled.anonymousAt(address);
          for (const repository of names) {
            const expected = mayDo({ groups: all, policy: drawn.policy }, null, repository, address);
            assert.deepEqual([...compiled.decide(client, repository).actions], expected);
            for (const action of expected)
              assert.ok(compiled.mayAnywhere(client, action as PolicyAction) && compiled.hasAnonymous);
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});
