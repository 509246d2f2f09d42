import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseExpectations } from '../../../src/cli/policy/expectation.ts';
import { formatProblem } from '../../../src/config/load/problem.ts';
import { anonymous } from '../../../src/registry/principal.ts';
import { user } from '../../support/principals.ts';

function problemsOf(text: string): string[] {
  const { rows, problems } = parseExpectations(text, 't.yml');
  assert.deepEqual(rows.length, 0);
  return problems.map((problem) => formatProblem(problem).replace(/; allowed: .*/, ''));
}

describe('a table of expectations', () => {
  it('is read with the line of each row', () => {
    const text = `# comment
- { user: anonymous, address: 10.1.2.3, action: pull, repository: public/app, allowed: true }
- user: user:anonymous
  action: overwrite
  repository: app
  tag: v1
  allowed: false
- { user: oidc, claims: main.json, action: push, repository: app, allowed: true }
`;
    assert.deepEqual(parseExpectations(text, 't.yml'), {
      problems: [],
      rows: [
        {
          place: 't.yml:2',
          principal: anonymous,
          address: '10.1.2.3',
          action: 'pull',
          repository: 'public/app',
          tag: null,
          allowed: true,
          claims: null,
        },
        {
          place: 't.yml:3',
          principal: user('anonymous'),
          address: null,
          action: 'overwrite',
          repository: 'app',
          tag: 'v1',
          allowed: false,
          claims: null,
        },
        {
          place: 't.yml:8',
          principal: user('oidc'),
          address: null,
          action: 'push',
          repository: 'app',
          tag: null,
          allowed: true,
          claims: 'main.json',
        },
      ],
    });
  });

  it('names everything that is wrong, with its line', () => {
    assert.deepEqual(
      problemsOf(`- { user: bob, action: pus, repository: A, allow: yes }
- 5
- user: group:x
  action: pull
  repository: [a]
  tag: 1.2
  allowed: "true"
`),
      [
        't.yml:1: allow: there is no such field',
        't.yml:1: action: "pus" is not allowed',
        't.yml:1: repository: "A" is not the name of a repository: lower case, parts with "/" between, as in team/app',
        't.yml:1: allowed: is missing',
        't.yml:2: a scalar is not an expectation',
        't.yml:3: user: "group:x" is nobody in particular: name a user, or write anonymous',
        't.yml:5: repository: must be a value, not a list',
        't.yml:6: tag: 1.2 is not text: quote it',
        't.yml:7: allowed: "true" is not allowed',
      ],
    );
  });

  it('has addresses of clients without credentials only', () => {
    const row = (user: string, address: string) =>
      problemsOf(`- { user: ${user}, address: ${address}, action: pull, repository: a, allowed: true }\n`);
    assert.deepEqual(row('bob', '10.1.2.3'), ['t.yml:1: address: "10.1.2.3" is not allowed']);
    assert.deepEqual(row('anonymous', '10.0.0.0/8'), [
      't.yml:1: address: "10.0.0.0/8" is not an IPv4 or IPv6 address',
    ]);
  });

  it('is a list with something in it: an empty one would be met by any policy', () => {
    for (const text of ['', '# nothing', '[]', 'user: bob', '- a\n---\n- b'])
      assert.equal(problemsOf(text).length, 1, text);
  });
});
