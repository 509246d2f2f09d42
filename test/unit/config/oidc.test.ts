import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { findProblems, folder, loadText } from './load-text.ts';

const issuer = '{ name: github, issuer: https://issuer.example, audience: registry.example.com }';
const text = (oidc: string, who = '{ oidc: github, claims: { repository_owner_id: "1" } }') =>
  `auth: { oidc: ${oidc} }\npolicy:\n  - { who: [${who}], repositories: ["**"], actions: [push] }\n`;

describe('auth.oidc', () => {
  it('is a list of issuers, with a CA by its path', async () => {
    const { config } = await loadText(
      text(
        `[${issuer}, { name: k8s, issuer: "https://k8s.example:6443/x", audience: a, jwks: "https://10.0.0.1/jwks", ca: certs/k8s.crt }]`,
      ),
    );
    assert.deepEqual(config.auth.oidc, [
      {
        name: 'github',
        issuer: 'https://issuer.example',
        audience: 'registry.example.com',
        jwks: null,
        ca: null,
      },
      {
        ...{
          name: 'k8s',
          issuer: 'https://k8s.example:6443/x',
          audience: 'a',
          jwks: 'https://10.0.0.1/jwks',
        },
        ca: path.join(folder, 'certs/k8s.crt'),
      },
    ]);
  });

  it('is refused without a policy, which alone lets a job do anything', async () => {
    assert.deepEqual(await findProblems(`auth: { oidc: [${issuer}] }`), [
      'x.yml:1: auth.oidc: needs a policy: only its rules let a job do anything; allowed: a list of issuers { name, issuer, audience, jwks, ca }; name, issuer and audience are required',
    ]);
  });

  const wrong: readonly [oidc: string, problem: RegExp][] = [
    ['[{ name: github, issuer: https://issuer.example }]', /auth\.oidc\.audience: is missing/],
    ['[{ name: github, audience: a }]', /auth\.oidc\.issuer: is missing/],
    ['[{ issuer: https://issuer.example, audience: a }]', /auth\.oidc\.name: is missing/],
    ['[{ name: github, issuer: http://issuer.example, audience: a }]', /is not such a URL: https/],
    ['[{ name: github, issuer: http://127.0.0.1, audience: a }]', /is not such a URL: https/],
    ['[{ name: github, issuer: "https://issuer.example?x", audience: a }]', /is not such a URL/],
    ['[{ name: github, issuer: "https://user@issuer.example", audience: a }]', /is not such a URL/],
    [
      '[{ name: github, issuer: https://i.example, audience: a, jwks: http://i.example/j }]',
      /is not such a URL/,
    ],
    ['[{ name: github, issuer: https://i.example, audience: "" }]', /is no audience/],
    ['[{ name: "git hub", issuer: https://i.example, audience: a }]', /is no name/],
    ['[{ name: "git:hub", issuer: https://i.example, audience: a }]', /is no name/],
    [
      `[${issuer}, { name: github, issuer: https://i.example, audience: a }]`,
      /is the name of an earlier issuer/,
    ],
    [`[${issuer}, ${issuer.replace('github', 'other')}]`, /has an earlier name for the same audience/],
    [`[${issuer.replace('}', ', client: x }')}]`, /there is no such key: client/],
    [issuer, /is not a list/],
  ];
  for (const [oidc, problem] of wrong)
    it(`is refused as ${oidc}`, async () => {
      assert.match((await findProblems(text(oidc)))[0] ?? '', problem);
    });

  it('may have two audiences of one issuer', async () => {
    await loadText(text(`[${issuer}, { name: other, issuer: https://issuer.example, audience: other }]`));
  });
});

describe('rules for jobs', () => {
  const wrong: readonly [who: string, problem: RegExp][] = [
    ['{ oidc: gitlab, claims: { sub: a } }', /policy\.who\.oidc: names the issuer "gitlab", which is not in/],
    ['{ oidc: github }', /policy\.who\.claims: is missing/],
    ['{ oidc: github, claims: {} }', /match the jobs of everyone/],
    ['{ oidc: github, claims: { aud: a } }', /match the jobs of everyone/],
    ['{ oidc: github, claims: { iss: a, aud: b } }', /match the jobs of everyone/],
    ['{ oidc: github, claims: { repository: "**" } }', /match the jobs of everyone/],
    ['{ oidc: github, claims: { repository_owner_id: 1234 } }', /1234 is not text \(quote it\)/],
    ['{ oidc: github, claims: { sub: [a] } }', /is not text \(quote it\)/],
    ['{ oidc: github, claims: { sub: "a//*" } }', /has an empty segment/],
    ['{ oidc: github, claims: { sub: a }, name: x }', /there is no such key: name/],
    ['{ claims: { sub: a } }', /policy\.who\.oidc: is missing/],
    ['7', /policy\.who: 7 is not allowed/],
    ['nobody', /"nobody" is nobody: write anonymous/],
    ['job:github', /is nobody/],
    ['oidc:github', /is nobody/],
  ];
  for (const [who, problem] of wrong)
    it(`are refused as ${who}`, async () => {
      const problems = await findProblems(text(`[${issuer}]`, who));
      assert.match(problems[0] ?? '', problem);
      assert.match(problems[0] ?? '', /^x\.yml:3: /);
      assert.equal(problems.length, 1, problems.join('\n'));
    });
});
