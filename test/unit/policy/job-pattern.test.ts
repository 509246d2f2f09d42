import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { namesOwnJobs, parseClaimPattern, parseJobPattern } from '../../../src/policy/job-pattern.ts';
import { createPolicy, type RuleText } from '../../../src/policy/policy.ts';
import { lintPolicy } from '../../../src/policy/policy-lint.ts';
import type { WhoText } from '../../../src/policy/who.ts';
import type { Job } from '../../../src/registry/principal.ts';
import { principalOf } from '../../support/principals.ts';

const job = (claims: Record<string, string>, issuer = 'github'): Job => ({
  kind: 'job',
  issuer,
  name: 'acme/app@refs/heads/main',
  claims,
});
const acme = { repository_owner_id: '1234', ref: 'refs/heads/main', event_name: 'push' };
const jobs = (claims: Record<string, string>, oidc = 'github'): WhoText => ({ oidc, claims });
const rule = (who: WhoText[], repositories: string[], actions: RuleText['actions']): RuleText => ({
  who,
  repositories,
  actions,
});

describe('a pattern of jobs', () => {
  const pattern = parseJobPattern({
    oidc: 'github',
    claims: { repository_owner_id: '1234', ref: 'refs/heads/*' },
  });
  test('matches a job of its issuer whose claims all match', () => {
    assert.ok(pattern.matches(job(acme)));
    for (const other of [
      job(acme, 'gitlab'),
      job({ ...acme, repository_owner_id: '12345' }),
      job({ ...acme, ref: 'refs/tags/v1' }),
      job({ ...acme, ref: 'refs/heads/a/b' }),
      job({ ref: acme.ref }),
      job({ repository_owner_id: '1234' }),
      job({}),
    ])
      assert.ok(!pattern.matches(other), JSON.stringify(other));
  });

  test('matches no claim that an object has by nature', () => {
    for (const name of ['constructor', 'toString', '__proto__'])
      assert.ok(!parseJobPattern({ oidc: 'github', claims: { [name]: '**' } }).matches(job({})), name);
  });

  test('takes claims by glob, and exactly where there is no star', () => {
    const cases: readonly [pattern: string, value: string, matches: boolean][] = [
      ['refs/heads/*', 'refs/heads/main', true],
      ['refs/heads/**', 'refs/heads/a/b', true],
      ['refs/heads/*', 'refs/heads/a/b', false],
      ['https://host//x/', 'https://host//x/', true],
      ['main', 'Main', false],
      ['main', 'main\n', false],
      ['a.c', 'abc', false],
      ['true', 'true', true],
      ['system:serviceaccount:builds:*', 'system:serviceaccount:builds:pusher', true],
    ];
    for (const [text, value, matches] of cases)
      assert.equal(parseClaimPattern(text)(value), matches, `${text} ${value}`);
    for (const text of ['', 'a//*', 'x**', 'x'.repeat(1025)])
      assert.throws(() => parseClaimPattern(text), RangeError, text);
  });

  test('takes no time, however hostile claims and patterns are', () => {
    const matches = parseClaimPattern('*a'.repeat(250) + '/**/' + '*b'.repeat(250));
    assert.ok(!matches('a/'.repeat(2000) + 'c'));
  });

  test('is only for jobs of somebody', () => {
    for (const claims of [
      {},
      { aud: 'a' },
      { iss: 'a', aud: 'a' },
      { sub: '**' },
      { aud: 'a', repository: '*/*' },
    ])
      assert.ok(!namesOwnJobs(claims), JSON.stringify(claims));
    for (const claims of [{ sub: 'a' }, { aud: 'a', repository_owner_id: '1' }, { repository: 'acme/*' }])
      assert.ok(namesOwnJobs(claims), JSON.stringify(claims));
  });
});

describe('a policy for jobs', () => {
  const rules = [
    rule([jobs({ repository_owner_id: '1234', event_name: 'pull_request_target' })], ['**'], []),
    rule(
      ['user:alice', jobs({ repository_owner_id: '1234', ref: 'refs/heads/*' })],
      ['acme/**'],
      ['pull', 'push'],
    ),
    rule(['authenticated', 'user:${user}', 'anonymous'], ['**', '${user}'], ['pull']),
  ];
  const policy = createPolicy({ rules, groups: {} });
  const ofRule = (claims: Record<string, string>, repository: string, issuer?: string) =>
    policy.decide(job(claims, issuer), repository).rule;

  test('decides by claims, and by them alone: not by the text that two jobs share', () => {
    assert.equal(ofRule(acme, 'acme/app'), 2);
    assert.equal(ofRule({ ...acme, event_name: 'pull_request_target' }, 'acme/app'), 1);
    assert.equal(ofRule({ ...acme, repository_owner_id: '99' }, 'acme/app'), null);
    assert.equal(ofRule(acme, 'acme/app'), 2);
    assert.equal(ofRule(acme, 'acme/app', 'gitlab'), null);
  });

  test('lets no rule for users or for everyone match a job', () => {
    assert.equal(ofRule(acme, 'public/app'), null);
    assert.equal(policy.decide(principalOf('alice'), 'acme/app').rule, 2);
    assert.equal(policy.decide(principalOf(null), 'acme/app').rule, 3);
    assert.equal(policy.mayAnywhere(job(acme), 'push'), true);
    assert.equal(policy.mayAnywhere(job({ ref: 'refs/heads/main' }), 'pull'), false);
    assert.deepEqual([...policy.decideForAll(job(acme)).actions], []);
  });

  test('is looked through for mistakes', () => {
    const lint = (...texts: RuleText[]) =>
      lintPolicy(
        {
          policy: texts,
          groups: {},
          auth: { oidc: [{ name: 'github', issuer: 'https://token.actions.githubusercontent.com' }] },
        },
        null,
        null,
      ).map(({ sentence }) => sentence);
    const push = rule([jobs({ repository_owner_id: '1', ref: 'x' })], ['**'], ['push']);
    assert.deepEqual(lint(push), []);
    const same = rule([jobs({ ref: 'x', repository_owner_id: '1' })], ['a'], ['pull']);
    assert.deepEqual(lint(push, same), [
      'rule 2 can never decide: rule 1 comes first for all that it could match',
    ]);
    assert.deepEqual(lint(push, rule([jobs({ repository_owner_id: '2' })], ['a'], ['pull'])), []);
    assert.match(
      lint(rule([jobs({ ref: 'refs/heads/main' })], ['**'], ['push'])).join(),
      /jobs of every project/,
    );
    const claimsWarned = (claims: Record<string, string>) =>
      lint(rule([jobs(claims)], ['**'], ['push'])).length > 0;
    for (const claims of [
      { sub: 'repo:*/*' },
      { sub: '*/*:environment:production' },
      { sub: 'r*/*' },
      { repository: '*/deploy' },
      { workflow_ref: '**/main' },
      { repository_owner_id: '12*' },
      { ci_config_ref_uri: 'gitlab.com/*/ci/**' },
    ])
      assert.ok(claimsWarned(claims), JSON.stringify(claims));
    for (const claims of [
      { sub: 'repo:acme/*:ref:refs/heads/main' },
      { sub: 'project_path:acme/**' },
      { sub: 'repository_owner:acme:*' },
      { repository: 'acme/*' },
      { repository: '*/deploy', repository_owner: 'acme' },
      { ci_config_ref_uri: 'gitlab.com/acme/ci/**' },
    ])
      assert.ok(!claimsWarned(claims), JSON.stringify(claims));
  });
});
