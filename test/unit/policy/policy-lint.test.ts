import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { PolicyAction } from '../../../src/policy/decision.ts';
import { createPolicy, type RuleText } from '../../../src/policy/policy.ts';
import { lintPolicy } from '../../../src/policy/policy-lint.ts';
import { principalOf } from '../../support/principals.ts';

const groups = { ci: ['b1', 'b2'], empty: [] };

function rule(who: string, repositories: string, ...actions: PolicyAction[]): RuleText {
  return { who: who.split(' '), repositories: repositories.split(' '), actions };
}

/** All but that nobody may push. */
function faults(...policy: RuleText[]): string[] {
  return lintPolicy({ policy, groups }, null, null)
    .filter(({ path }) => path.length > 1)
    .map(({ path, sentence }) => `${path.join('.')}: ${sentence}`);
}

describe('rules that never decide', () => {
  const first = 'policy.1: rule 2 can never decide: rule 1 comes first for all that it could match';
  const found: readonly (readonly RuleText[])[] = [
    [rule('authenticated', '**'), rule('user:a', 'a', 'push')],
    [rule('user:${user}', '**'), rule('authenticated', 'a')],
    [rule('group:ci', 'a/**'), rule('user:b1', 'a/b/c')],
    [rule('user:b1 user:b2', 'a/**'), rule('group:ci', 'a/*/x')],
    [rule('anonymous authenticated', 'a/**'), rule('anonymous', 'a/b')],
    [rule('user:a', 'a/*'), rule('user:a', 'a/b')],
    [rule('user:a', '**/b'), rule('user:a', 'x/b')],
    [rule('user:${user}', 'home/**'), rule('user:${user}', 'home/${user}/**')],
    [rule('user:${user}', 'home/${user}/**'), rule('user:a', 'home/${user}/x')],
  ];
  for (const rules of found)
    it(`${JSON.stringify(rules.map(({ who, repositories }) => [who, repositories]))}: found`, () => {
      assert.deepEqual(faults(...rules), [first]);
    });

  const networks: readonly (readonly RuleText[])[] = [
    [rule('network:10.0.0.0/8', '**'), rule('network:10.1.0.0/16', 'a', 'pull')],
    [rule('network:10.0.0.0/8', '**'), rule('network:::ffff:10.1.0.0/112', 'a', 'pull')],
    [rule('anonymous', '**'), rule('network:10.1.0.0/16 network:::1', 'a', 'pull')],
    [rule('network:::1 network:10.0.0.0/8', 'a/**'), rule('network:::1', 'a/b', 'pull')],
  ];
  for (const rules of networks)
    it(`${JSON.stringify(rules.map(({ who, repositories }) => [who, repositories]))}: found`, () => {
      assert.ok(faults(...rules).includes(first));
    });

  const fine: readonly (readonly RuleText[])[] = [
    [rule('anonymous', '**'), rule('authenticated', '**')],
    [rule('network:10.0.0.0/8', '**'), rule('anonymous', '**')],
    [rule('network:10.1.0.0/16', '**'), rule('network:10.0.0.0/8', '**')],
    [rule('network:10.0.0.0/8', '**'), rule('network:10.0.0.0/8 network:::1', '**')],
    [rule('authenticated', '**'), rule('network:10.0.0.0/8', '**')],
    [rule('user:a', '**'), rule('authenticated', '**')],
    [rule('group:ci', '**'), rule('user:b1 user:b3', 'a')],
    [rule('authenticated', 'a/*'), rule('authenticated', 'a/**')],
    [rule('authenticated', 'a/**'), rule('authenticated', 'a')],
    [rule('authenticated', 'a/**'), rule('authenticated', 'ab/c')],
    [rule('authenticated', 'a/** b'), rule('authenticated', 'a/x c')],
    [rule('authenticated', 'home/${user}/**'), rule('authenticated', 'home/a/**')],
  ];
  for (const rules of fine)
    it(`${JSON.stringify(rules.map(({ who, repositories }) => [who, repositories]))}: fine`, () => {
      assert.deepEqual(faults(...rules), []);
    });

  it('are found where several earlier ones take everything together, where nobody is meant, and where no name fits', () => {
    assert.deepEqual(faults(rule('user:a', 'x'), rule('user:b', '**'), rule('user:a user:b', 'x')), [
      'policy.2: rule 3 can never decide: rules 1, 2 come first for all that it could match',
    ]);
    assert.deepEqual(faults(rule('group:empty', '**')), [
      'policy.0: rule 1 can never decide: its groups have no members',
    ]);
    assert.match(
      faults(rule('user:Anna', 'home/${user}/**')).join(),
      /^policy\.0: rule 1 .*"\$\{user\}" needs/,
    );
  });

  it('never do, whatever the rules are', () => {
    const who = fc.constantFrom(
      ...['anonymous', 'authenticated', 'user:a', 'user:B', 'user:${user}', 'group:ci'],
      ...['network:10.0.0.0/8', 'network:10.1.0.0/16', 'network:::ffff:10.1.0.0/112', 'network:::/0'],
    );
    const pattern = fc.constantFrom(
      '**',
      'a',
      'a/*',
      'a/**',
      'a/b',
      '**/b',
      '*',
      '${user}/**',
      'b1/*',
      'a*/b',
    );
    const some = fc.record({
      who: fc.array(who, { minLength: 1, maxLength: 2 }),
      repositories: fc.array(pattern, { minLength: 1, maxLength: 2 }),
      actions: fc.constant(['push'] as const),
    });
    const principals = [null, 'a', 'B', 'b1', 'b2', 'other'].map(principalOf);
    const repositories = ['a', 'b', 'a/b', 'a/c', 'a/b/b', 'ab/b', 'b1/x', 'other/x/y', 'B/x', 'c/d/b'];
    fc.assert(
      fc.property(fc.array(some, { maxLength: 5 }), (rules: RuleText[]) => {
        const policy = createPolicy({ rules, groups });
        const clients = ['10.1.2.3', '10.2.2.3', '::1', '192.0.2.1'].map(policy.anonymousAt);
        const decided = new Set(
          [...principals, ...clients].flatMap((principal) =>
            repositories.map((repository) => policy.decide(principal, repository).rule),
          ),
        );
        for (const { path, sentence } of lintPolicy({ policy: rules, groups }, null, null))
          if (sentence.includes('can never decide')) assert.ok(!decided.has(Number(path[1]) + 1), sentence);
      }),
    );
  });
});

describe('what is hardly meant', () => {
  it('a user whom the htpasswd file does not have, in a group or a rule', () => {
    const policy = [rule('user:b1 user:gone user:${user} group:ci anonymous', 'x', 'push')];
    const found = lintPolicy({ policy, groups }, new Set(['b1']), null);
    assert.deepEqual(
      found.map(({ path, sentence }) => [path.join('.'), sentence]),
      [
        ['groups.ci.1', 'names "b2", whom the htpasswd file does not have'],
        ['policy.0.who.1', 'names "gone", whom the htpasswd file does not have'],
      ],
    );
  });

  it('nobody may push', () => {
    const noPush = (...policy: RuleText[]) =>
      lintPolicy({ policy, groups }, null, null).some(
        ({ path, sentence }) => path.join() === 'policy' && sentence === 'allows nobody to push',
      );
    assert.ok(noPush());
    assert.ok(noPush(rule('authenticated', '**', 'pull', 'delete')));
    assert.ok(noPush(rule('group:empty', '**', 'push')));
    assert.ok(!noPush(rule('group:ci', '**', 'push')));
    assert.deepEqual(lintPolicy({ policy: null, groups }, null, null), []);
  });

  it('a network of everyone', () => {
    const everyone = (...words: string[]) => faults(rule([...words, 'authenticated'].join(' '), 'a', 'pull'));
    for (const [word, family] of [
      ['network:0.0.0.0/0', 'IPv4'],
      ['network:::ffff:0.0.0.0/96', 'IPv4'],
      ['network:::/0', 'IPv6'],
    ] as const)
      assert.deepEqual(everyone(word), [
        `policy.0.who.0: rule 1 is for everyone without credentials at any ${family} address: if that is meant, write anonymous`,
      ]);
    assert.deepEqual(everyone('network:10.0.0.0/8', 'network:::1'), []);
    assert.deepEqual(faults(rule('network:::/0', 'a')), [], 'it allows nothing');
  });

  it('strangers may what a user may not', () => {
    const [fault, ...others] = faults(
      rule('anonymous', 'public/**', 'pull'),
      rule('authenticated', 'x', 'pull'),
    );
    assert.deepEqual(others, []);
    assert.match(fault ?? '', /^policy\.0: rule 1 lets clients without credentials pull public\/sample, but/);
    assert.deepEqual(faults(rule('anonymous authenticated', 'public/**', 'pull')), []);
    assert.deepEqual(faults(rule('anonymous', 'public/**', 'pull'), rule('authenticated', '**', 'pull')), []);
    assert.deepEqual(
      faults(rule('anonymous', 'public/**'), rule('anonymous authenticated', '**', 'pull')),
      [],
    );
    const [mirror] = faults(rule('network:10.0.0.0/8', 'hub/**', 'pull'));
    assert.match(
      mirror ?? '',
      /^policy\.0: rule 1 lets clients without credentials in 10\.0\.0\.0\/8 pull hub\/sample, .*"network:10\.0\.0\.0\/8" does not mean users/,
    );
    assert.deepEqual(faults(rule('network:10.0.0.0/8 authenticated', 'hub/**', 'pull')), []);
    // Names of users that are in the rules are not taken for anyone's.
    const named = faults(rule('anonymous', 'p', 'pull'), rule('user:someone', 'p', 'pull'));
    assert.equal(named.length, 1);
  });
});
