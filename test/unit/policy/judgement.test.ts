import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { explainRules } from '../../../src/policy/explanation.ts';
import { createJudge, type PolicyTexts } from '../../../src/policy/judgement.ts';
import type { PolicyAction } from '../../../src/policy/decision.ts';
import { createPolicy, type RuleText } from '../../../src/policy/policy.ts';
import { parsePrincipal, parseRepository, parseTag } from '../../../src/policy/policy-query.ts';
import { machinesNamed, principalOf, user } from '../../support/principals.ts';

const texts: PolicyTexts = {
  groups: { admins: ['root'], team: ['bob'] },
  policy: [
    { who: ['group:admins'], repositories: ['**'], actions: ['pull', 'push', 'delete', 'overwrite'] },
    { who: ['group:team'], repositories: ['team/**'], actions: ['pull', 'push', 'delete'] },
    { who: ['user:carl'], repositories: ['secret/*'], actions: [] },
    { who: ['user:carl'], repositories: ['locked/*'], actions: ['overwrite'] },
    { who: ['anonymous'], repositories: ['public/*'], actions: ['pull'] },
    { who: ['authenticated'], repositories: ['**'], actions: ['pull'] },
  ],
  immutableTags: ['other/*:x', 'team/*:v*'],
};

type Row = readonly [
  name: string | null,
  action: PolicyAction,
  image: string,
  sentence: string,
  answer: string | null,
  immutableBy?: number,
];
const rows: readonly Row[] = [
  ['root', 'delete', 'team/app:v1', 'root may delete team/app (rule 1)', null, 2],
  ['root', 'overwrite', 'team/app:v1', 'root may overwrite team/app (rule 1)', null, 2],
  ['bob', 'push', 'team/app:v1', 'bob may push team/app (rule 2)', null, 2],
  [
    'bob',
    'delete',
    'team/app:v1',
    'bob may delete in team/app, but not the immutable tag v1: that needs overwrite (rule 2)',
    '403 DENIED',
    2,
  ],
  ['bob', 'delete', 'team/app:w1', 'bob may delete team/app (rule 2)', null],
  ['bob', 'delete', 'team/app', 'bob may delete team/app (rule 2)', null],
  ['bob', 'push', 'other/app:x', 'bob may pull but not push other/app (rule 6)', '403 DENIED', 1],
  ['carl', 'pull', 'secret/app', 'carl may do nothing in secret/app (rule 3)', '404 NAME_UNKNOWN'],
  ['carl', 'pull', 'locked/app', 'carl may do nothing in locked/app (rule 4)', '404 NAME_UNKNOWN'],
  [null, 'pull', 'public/app', 'a client without credentials may pull public/app (rule 5)', null],
  [
    null,
    'push',
    'public/app',
    'a client without credentials may pull but not push public/app (rule 5)',
    '401 UNAUTHORIZED',
  ],
  [
    null,
    'pull',
    'team/app',
    'a client without credentials may do nothing in team/app (no rule matches)',
    '401 UNAUTHORIZED',
  ],
];

describe('a judgement', () => {
  const { judge } = createJudge(texts);
  for (const [name, action, image, sentence, answer, immutableBy = null] of rows) {
    it(sentence, () => {
      const [repository = '', tag = null] = image.split(':');
      const judgement = judge({ principal: principalOf(name), action, repository, tag });
      assert.deepEqual(
        [judgement.allowed, judgement.sentence, judgement.answer, judgement.immutableBy],
        [answer === null, sentence, answer, immutableBy],
      );
    });
  }

  it('names a machine token and a job by their texts, and tells them what it tells a user', () => {
    const [token, job] = machinesNamed('bob').map((principal) =>
      judge({ principal, action: 'pull', repository: 'team/app', tag: null }),
    );
    assert.deepEqual(
      [token?.sentence, token?.answer],
      ['token:bob may do nothing in team/app (no rule matches)', '404 NAME_UNKNOWN'],
    );
    assert.deepEqual(
      [job?.sentence, job?.answer],
      ['job:github bob may do nothing in team/app (no rule matches)', '401 UNAUTHORIZED'],
    );
  });

  it('refuses a job that may do something elsewhere as it refuses a user', () => {
    const who = [{ oidc: 'github', claims: { repository: 'acme/app' } }];
    const { judge: judgeJobs } = createJudge({
      ...texts,
      policy: [{ who, repositories: ['acme/**'], actions: ['pull'] }],
    });
    const [, job] = machinesNamed('bob');
    assert.ok(job);
    const ask = (repository: string) =>
      judgeJobs({ principal: job, action: 'pull', repository, tag: null }).answer;
    assert.deepEqual([ask('acme/app'), ask('team/app')], [null, '404 NAME_UNKNOWN']);
  });

  it('is that of no policy where there is none: everything for users, but for immutable tags', () => {
    const none = createJudge({ ...texts, policy: null });
    const ask = (name: string | null, action: PolicyAction, tag: string | null = null) => {
      const { allowed, rule } = none.judge({
        principal: principalOf(name),
        action,
        repository: 'team/app',
        tag,
      });
      assert.equal(rule, null);
      return allowed;
    };
    assert.equal(none.hasRules, false);
    assert.deepEqual(
      [ask('x', 'pull'), ask('x', 'push', 'v1'), ask('x', 'delete'), ask('x', 'delete', 'w')],
      [true, true, true, true],
    );
    assert.deepEqual(
      [ask('x', 'overwrite', 'v1'), ask('x', 'delete', 'v1'), ask(null, 'pull')],
      [false, false, false],
    );
  });
});

describe('the explanation', () => {
  it('names of each rule what does not match, and ends with the one that decides', () => {
    assert.deepEqual(explainRules(texts.policy ?? [], texts.groups, user('bob'), 'public/app'), [
      { rule: 1, word: null, pattern: '**' },
      { rule: 2, word: 'group:team', pattern: null },
      { rule: 3, word: null, pattern: null },
      { rule: 4, word: null, pattern: null },
      { rule: 5, word: null, pattern: 'public/*' },
      { rule: 6, word: 'authenticated', pattern: '**' },
    ]);
  });

  it('always decides as the policy does', () => {
    const rule = fc.record({
      who: fc.array(fc.constantFrom('anonymous', 'authenticated', 'user:a', 'user:${user}', 'group:g'), {
        minLength: 1,
        maxLength: 2,
      }),
      repositories: fc.array(fc.constantFrom('**', 'a', 'a/*', 'a/**', '**/b', '${user}/**', 'x/*'), {
        minLength: 1,
        maxLength: 2,
      }),
      actions: fc.constant(['pull'] as const),
    });
    const groups = { g: ['b'] };
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 6 }),
        fc.constantFrom(...[null, 'a', 'b', 'C'].map(principalOf), ...machinesNamed('a')),
        fc.constantFrom('a', 'b', 'a/b', 'a/b/b', 'x/y', 'b/x'),
        (rules: RuleText[], principal, repository) => {
          const { rule: decides } = createPolicy({ rules, groups }).decide(principal, repository);
          const steps = explainRules(rules, groups, principal, repository);
          const found = steps.filter(({ word, pattern }) => word !== null && pattern !== null);
          assert.deepEqual(
            found.map((step) => step.rule),
            decides === null ? [] : [decides],
          );
          assert.equal(steps.length, decides ?? rules.length);
        },
      ),
    );
  });
});

describe('a question', () => {
  it('names a user, or clients without credentials', () => {
    assert.deepEqual(
      ['anonymous', 'user:anonymous', 'bob', 'user:bob', 'user:authenticated', 'böb', '${user}'].map(
        parsePrincipal,
      ),
      [null, 'anonymous', 'bob', 'bob', 'authenticated', 'böb', '${user}'].map(principalOf),
    );
    for (const text of ['', 'user:', 'authenticated', 'group:x', 'a:b', 'user:a:b', 'a\nb'])
      assert.throws(() => parsePrincipal(text), RangeError, text);
  });

  it('names a repository and a tag of the grammar', () => {
    assert.equal(parseRepository('a/b-c'), 'a/b-c');
    assert.equal(parseTag('v1.2_3'), 'v1.2_3');
    for (const text of ['', 'A', 'a/', 'a//b', '**']) assert.throws(() => parseRepository(text), RangeError);
    for (const text of ['', '-a', 'a/b', 'v*']) assert.throws(() => parseTag(text), RangeError);
  });
});
