import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { createSessions } from '../../../src/console/session/sessions.ts';

const [old, next] = [randomBytes(32), randomBytes(32)];
const holder = { principal: { kind: 'user', name: 'alice' }, hash: 'the line', expiresMs: null } as const;
const open = (...secrets: [Buffer, ...Buffer[]]) =>
  createSessions({ secrets, ttlMs: 60_000, findHolder: () => holder, now: () => 0 });
const sent = (cookie: string) => ['Cookie', cookie.slice(0, cookie.indexOf(';'))];

describe('while a secret is replaced', () => {
  const before = open(old);
  const { session, cookie } = before.begin(holder);
  const token = before.formToken(session);

  for (const [what, sessions] of [
    ['added', open(old, next)],
    ['moved to the front', open(next, old)],
  ] as const)
    test(`sessions go on when the new one was ${what}, and forms that are open then count`, () => {
      const read = sessions.read(sent(cookie));
      assert.deepEqual(read, session);
      assert.ok(sessions.isFormToken(session, token));
      assert.ok(before.isFormToken(session, open(old, next).formToken(session)));
    });

  test('both end when the old one was removed', () => {
    assert.equal(open(next).read(sent(cookie)), null);
    assert.equal(open(next).isFormToken(session, token), false);
  });

  test('a token of another session never counts', () => {
    const other = open(next, old);
    assert.equal(other.isFormToken(other.begin(holder).session, token), false);
  });
});
