import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { PolicyAction } from '../../../src/policy/decision.ts';
import { createPolicy } from '../../../src/policy/policy.ts';
import { checkGrantPattern, createOpenPolicy } from '../../../src/policy/token-grants.ts';
import { machineTokens, policies, repositories, tokenMayDo } from '../../support/policy-model.ts';
import { machineToken, principalOf, user } from '../../support/principals.ts';

const rules = [
  { who: ['token:ci', 'user:alice'], repositories: ['team/**'], actions: ['pull', 'push', 'overwrite'] },
  { who: ['group:builders'], repositories: ['base/*'], actions: ['pull', 'push'] },
  { who: ['authenticated', 'user:${user}'], repositories: ['**'], actions: ['pull'] },
] as const;
const policy = createPolicy({
  rules: rules.map((rule) => ({ ...rule, actions: [...rule.actions] })),
  groups: { builders: ['token:robot', 'bob'] },
});
const actionsOf = (...asked: Parameters<typeof policy.decide>) => [...policy.decide(...asked).actions];

describe('a machine token under a policy', () => {
  test('is named in a rule or a group, and is meant by no word for users', () => {
    assert.deepEqual(actionsOf(machineToken('ci'), 'team/app'), ['pull', 'push', 'overwrite']);
    assert.deepEqual(actionsOf(machineToken('robot'), 'base/x'), ['pull', 'push']);
    assert.deepEqual(actionsOf(machineToken('alice'), 'team/app'), []);
    assert.deepEqual(actionsOf(machineToken('bob'), 'base/x'), []);
    assert.deepEqual(actionsOf(machineToken('ci'), 'other/app'), []);
    assert.deepEqual(actionsOf(user('ci'), 'team/app'), ['pull']);
  });

  test('may no more than its scopes, and hears which of them keeps it out', () => {
    const puller = machineToken('ci', { repositories: ['team/a/*'], actions: ['pull'] });
    assert.deepEqual(actionsOf(puller, 'team/a/x'), ['pull']);
    assert.deepEqual(actionsOf(puller, 'team/app'), []);
    const { withheld } = policy.decide(puller, 'team/a/x');
    assert.deepEqual(
      [...(withheld ?? [])],
      [
        ['push', 'scopes'],
        ['overwrite', 'scopes'],
      ],
    );
  });

  test('that its owner made has the owner’s rights within its scopes, whatever rules say of its name', () => {
    const mine = machineToken('robot', { owner: 'alice', isPersonal: true, actions: ['pull', 'push'] });
    assert.deepEqual(actionsOf(mine, 'team/app'), ['pull', 'push', 'overwrite']);
    assert.deepEqual(actionsOf(mine, 'base/x'), ['pull']);
    assert.deepEqual(actionsOf(mine, 'alice'), ['pull']);
    assert.equal(policy.mayAnywhere(mine, 'push'), true);
    assert.equal(policy.mayAnywhere(mine, 'delete'), false);
    assert.deepEqual([...policy.decideForAll(mine).actions], ['pull']);
    const nobodys = machineToken('robot', { owner: 'mallory', isPersonal: true });
    assert.equal(policy.mayAnywhere(nobodys, 'push'), false);
  });

  test('may no more than its owner', () => {
    const owned = machineToken('ci', { owner: 'bob' });
    assert.deepEqual(actionsOf(owned, 'team/app'), ['pull']);
    assert.equal(policy.decide(owned, 'team/app').withheld?.get('push'), 'owner');
    assert.deepEqual(actionsOf(machineToken('ci', { owner: 'alice' }), 'team/app'), [
      'pull',
      'push',
      'overwrite',
    ]);
  });

  test('is not remembered with another grant, nor for its owner', () => {
    for (const grant of [{}, { actions: ['pull'] as const }, {}])
      assert.equal(
        policy.decide(machineToken('ci', grant), 'team/again').actions.has('push'),
        !('actions' in grant),
      );
    assert.deepEqual(actionsOf(user('bob'), 'team/again'), ['pull']);
  });
});

test('any policy and any grant mean what the model says: never more than name, scopes and owner may', () => {
  fc.assert(
    fc.property(policies, machineTokens, fc.array(repositories, { minLength: 5 }), (drawn, token, names) => {
      const compiled = createPolicy({ rules: drawn.policy, groups: drawn.groups });
      const forAll = compiled.decideForAll(token).actions;
      for (const repository of names) {
        const expected = tokenMayDo(drawn, token, repository);
        const decided = compiled.decide(token, repository).actions;
        assert.deepEqual([...decided], expected);
        for (const action of forAll) assert.ok(decided.has(action), `${action} everywhere, but not there`);
        for (const action of decided) assert.ok(compiled.mayAnywhere(token, action), `${action} nowhere`);
      }
    }),
    { numRuns: 1000 },
  );
});

describe('without a policy', () => {
  const open = createOpenPolicy();
  const all: PolicyAction[] = ['pull', 'push', 'delete'];

  test('users may everything, machine tokens what their scopes cover, and nobody else anything', () => {
    assert.deepEqual([...open.decide(user('alice'), 'a/b').actions], all);
    assert.deepEqual([...open.decide(machineToken('ci'), 'a/b').actions], all);
    assert.deepEqual([...open.decide(machineToken('ci', { actions: ['pull'] }), 'a/b').actions], ['pull']);
    assert.deepEqual([...open.decide(machineToken('ci', { repositories: ['a/*'] }), 'b/b').actions], []);
    assert.deepEqual([...open.decide(principalOf(null), 'a/b').actions], []);
    assert.deepEqual(
      [...open.decide({ kind: 'job', issuer: 'github', name: 'a/b', claims: {} }, 'a/b').actions],
      [],
    );
    assert.deepEqual([...open.decideForAll(machineToken('ci', { repositories: ['a/*'] })).actions], []);
    assert.deepEqual([...open.decideForAll(machineToken('ci')).actions], all);
    assert.equal(open.mayAnywhere(machineToken('ci', { actions: ['pull'] }), 'push'), false);
  });
});

test('a pattern of scopes is one of repositories, of nobody in particular', () => {
  for (const pattern of ['**', 'team/**', 'base/*']) checkGrantPattern(pattern);
  for (const pattern of ['', 'A', 'home/${user}/**', 'a//b', '$'])
    assert.throws(() => checkGrantPattern(pattern), RangeError);
});
