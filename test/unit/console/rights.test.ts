import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { explainRights, mayCleanUp } from '../../../src/console/changes/rights.ts';
import { createPolicy } from '../../../src/policy/policy.ts';
import { createOpenPolicy } from '../../../src/policy/token-grants.ts';
import { machineToken, user } from '../../support/principals.ts';

const rules = [
  { who: ['group:ops'], repositories: ['**'], actions: ['pull', 'push', 'delete'] as const },
  { who: ['user:alice', 'token:ci'], repositories: ['team/**', 'base'], actions: ['pull', 'push'] as const },
  { who: ['authenticated'], repositories: ['**'], actions: ['pull'] as const },
].map((rule) => ({ ...rule, actions: [...rule.actions] }));
const groups = { ops: ['olga'] };
const policy = createPolicy({ rules, groups });
const explain = (principal: Parameters<typeof explainRights>[2], repository = '') =>
  explainRights({ policy: rules, groups }, policy, principal, repository);

describe('what one may do', () => {
  test('is everything without a policy', () => {
    const open = createOpenPolicy();
    assert.deepEqual(explainRights({ policy: null, groups: {} }, open, user('alice'), ''), { kind: 'all' });
  });

  test('is what the rules that match say, in order', () => {
    const rights = explain(user('alice'));
    assert.ok(rights.kind === 'rules');
    assert.deepEqual(
      rights.rules.map(({ rule, actions }) => [rule, actions.join()]),
      [
        [2, 'pull,push'],
        [3, 'pull'],
      ],
    );
    assert.equal(rights.check, null);
  });

  for (const [principal, repository, actions, rule] of [
    [user('alice'), 'team/app', 'pull,push', 2],
    [user('alice'), 'other', 'pull', 3],
    [user('olga'), 'other', 'pull,push,delete', 1],
    [machineToken('ci'), 'other', '', null],
    [machineToken('mine', { owner: 'alice', isPersonal: true, actions: ['push'] }), 'team/app', 'push', 2],
  ] as const)
    test(`in a repository: ${principal.kind} ${principal.name} in ${repository}`, () => {
      const rights = explain(principal, repository);
      assert.ok(rights.kind === 'rules');
      assert.deepEqual([rights.check?.actions.join(), rights.check?.rule], [actions, rule]);
    });

  test('is said of no name that a repository cannot have', () => {
    const rights = explain(user('alice'), '<script>');
    assert.ok(rights.kind === 'rules');
    assert.equal(rights.check, null);
  });
});

test('the clean-up is for users who may see and delete every image', () => {
  assert.equal(mayCleanUp(policy, user('olga')), true);
  assert.equal(mayCleanUp(policy, user('alice')), false);
  assert.equal(mayCleanUp(createOpenPolicy(), user('alice')), true);
  assert.equal(mayCleanUp(createOpenPolicy(), machineToken('ci')), false);
  const janitor = createPolicy({
    rules: [{ who: ['user:olga'], repositories: ['**'], actions: ['delete'] }],
    groups: {},
  });
  assert.equal(mayCleanUp(janitor, user('olga')), false);
});
