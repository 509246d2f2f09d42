import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createRedisAnswerGuard } from '../../../src/redis/answer-guard.ts';

const mebibyte = 1024 * 1024;
const ticket = '*3\r\n$5\r\na.b.c\r\n$-1\r\n$4\r\n\r\n$9\r\n:1\r\n';

describe('the guard before the parser of Redis', () => {
  for (const [what, answer] of [
    ['simple lines', '+OK\r\n-ERR no\r\n:12\r\n'],
    ['a list with a text that holds what looks like a length', ticket],
    ['an empty text and an empty list', '$0\r\n\r\n*0\r\n'],
    ['the largest text', `$${32 * mebibyte}\r\n`],
    ['many answers, of more than any one may have', ticket.repeat(100_000)],
  ] as const) {
    test(`lets pass, in pieces of any size: ${what}`, () => {
      const bytes = Buffer.from(answer);
      for (const size of [1, 2, 3, 7, 64 * 1024]) {
        if (bytes.length / size > 2 * mebibyte) continue;
        const guard = createRedisAnswerGuard();
        for (let at = 0; at < bytes.length; at += size) guard.look(bytes.subarray(at, at + size));
      }
    });
  }

  test('lets a text pass whole, whatever is in it', () => {
    const guard = createRedisAnswerGuard();
    guard.look(Buffer.from(`$${mebibyte}\r\n`));
    guard.look(Buffer.alloc(mebibyte, 'x'));
    guard.look(Buffer.from('\r\n:1\r\n'));
  });

  for (const [what, answer] of [
    ['a line that does not end', ':'.padEnd(64 * 1024 + 2, '1')],
    ['a text that is too long', `$${32 * mebibyte + 1}\r\n`],
    ['a text that is too long behind others', `${ticket}$99999999999999\r\n`],
    ['a list that is too long', '*65537\r\n'],
  ] as const) {
    test(`does not let pass, in pieces of any size: ${what}`, () => {
      const bytes = Buffer.from(answer);
      for (const size of [1, 3, 64 * 1024]) {
        const guard = createRedisAnswerGuard();
        assert.throws(() => {
          for (let at = 0; at < bytes.length; at += size) guard.look(bytes.subarray(at, at + size));
        }, /too long/);
      }
    });
  }
});
