import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nameJob } from '../../../../src/auth/oidc/job.ts';

describe('the name of a job', () => {
  test('says repository and ref, project and ref, or the subject', () => {
    const sub = 'system:serviceaccount:builds:pusher';
    const ref = 'refs/heads/main';
    assert.equal(nameJob({ sub: 'x', repository: 'acme/app', ref }), 'acme/app@refs/heads/main');
    assert.equal(nameJob({ sub: 'x', project_path: 'acme/team/app', ref: 'main' }), 'acme/team/app@main');
    assert.equal(nameJob({ sub }), sub);
    assert.equal(nameJob({ sub, repository: 'acme/app' }), sub);
  });

  test('is of one line, of a bounded length, and of one job alone', () => {
    const hostile = [
      'a\nb',
      'a\rb',
      'a\u202Eb',
      'a\u2028b',
      'a?b',
      'a\u0000b',
      'a\u200Bb',
      'x'.repeat(4000),
      'x'.repeat(4001),
      '😀'.repeat(300),
      '\ud800',
      '\ud801',
    ];
    const names = hostile.map((sub) => nameJob({ sub }));
    for (const name of names) {
      assert.doesNotMatch(name, /[\p{C}\p{Zl}\p{Zp}]/u);
      assert.ok(Array.from(name).length <= 217, String(name.length));
    }
    assert.equal(new Set(names).size, hostile.length);
    const changed = names.filter((name, index) => name !== hostile[index]);
    for (const name of changed) assert.notEqual(nameJob({ sub: name }), name, 'nobody takes it as a subject');
  });
});
