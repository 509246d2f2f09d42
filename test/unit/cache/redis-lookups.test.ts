import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { createRedisLookups } from '../../../src/cache/stores/redis-lookups.ts';
import { stillSo } from '../../../src/cache/stores/redis-scripts.ts';
import { maxHeldBytes, type Slot } from '../../../src/cache/stores/store.ts';
import { createRedisKeys } from '../../../src/redis/keys.ts';
import { ForeignAnswerError } from '../../../src/redis/trust.ts';

const slot: Slot = { scope: 'v2:app', item: 'latest', variant: 'a' };
const maxBytes = 1024 * 1024;

/** A value as it is stored: the hash of the rest, and the rest. */
function stored(content: Buffer): Buffer {
  return Buffer.concat([createHash('sha256').update(content).digest(), content]);
}

/** Lookups in a Redis that answers `answers.next`, and notes what it was sent for what is held. */
function openLookups() {
  const answers: { next: unknown } = { next: null };
  const sentHashes: string[] = [];
  const refusals: unknown[] = [];
  const lookup = createRedisLookups(
    {
      keys: createRedisKeys('test:', 'http://127.0.0.1:5000'),
      trust: {
        isReachable: () => true,
        isTrusted: () => true,
        losses: () => 0,
        run: (command) => command(),
        lose: () => {},
        close: () => {},
      },
      run: async (_script, _names, args, parse) => {
        await Promise.resolve();
        sentHashes.push(Buffer.from(args[5] ?? '').toString('hex'));
        try {
          return parse([Buffer.from('ticket'), answers.next, Buffer.from(args[0] ?? '')]);
        } catch (error) {
          refusals.push(error);
          throw error;
        }
      },
    },
    maxBytes,
  );
  const ask = async (next: unknown, at = slot) => {
    answers.next = next;
    return lookup(at);
  };
  return { ask, sentHashes, refusals };
}

describe('lookups in Redis', () => {
  test('what is held is not sent again, and is the same bytes', async () => {
    const { ask, sentHashes } = openLookups();
    const value = stored(Buffer.from('a manifest'));
    const first = await ask(value);
    const second = await ask(stillSo);
    assert.ok(first.kind === 'found' && second.kind === 'found');
    assert.deepEqual(second.value, value);
    assert.equal(second.value, first.value);
    assert.deepEqual(sentHashes, ['', value.toString('hex', 0, 32)]);
    assert.equal((await ask(null)).kind, 'absent');
    await ask(value);
    assert.equal(sentHashes.at(-1), '', 'what is gone from Redis is held no longer');
  });

  test('"still so" is not believed where nothing is held, nor another number below 0', async () => {
    const { ask, refusals } = openLookups();
    assert.equal((await ask(stillSo)).kind, 'unavailable');
    await ask(stored(Buffer.from('a manifest')));
    assert.equal((await ask(stillSo, { ...slot, variant: 'b' })).kind, 'unavailable', 'of one slot only');
    assert.equal((await ask(-2)).kind, 'unavailable');
    assert.equal((await ask('-1')).kind, 'unavailable');
    assert.equal(refusals.length, 4);
    assert.ok(refusals.every((error) => error instanceof ForeignAnswerError));
    assert.equal((await ask(stillSo)).kind, 'found');
  });

  test('what does not begin with its hash is not held', async () => {
    const { ask, sentHashes } = openLookups();
    const damaged = stored(Buffer.from('a manifest'));
    damaged[40] = 0;
    for (const value of [damaged, Buffer.from('short'), Buffer.alloc(0)]) {
      const found = await ask(value);
      assert.deepEqual(found.kind === 'found' && found.value, value);
      await ask(value);
      assert.equal(sentHashes.at(-1), '');
    }
  });

  test('no more is held than the bound, and what was used last stays', async () => {
    const { ask, sentHashes } = openLookups();
    const bound = maxHeldBytes(maxBytes);
    const value = (i: number) => stored(Buffer.alloc(8 * 1024, i));
    const at = (i: number) => ({ ...slot, item: `tag${i}` });
    const count = 2 * Math.ceil(bound / (8 * 1024));
    for (let i = 0; i < count; i += 1) await ask(value(i), at(i));
    sentHashes.length = 0;
    for (let i = count - 1; i >= 0; i -= 1) await ask(value(i), at(i));
    const kept = sentHashes.filter((hash) => hash !== '').length;
    assert.ok(kept > 0 && kept * 8 * 1024 <= bound, `${kept} are held`);
    assert.ok(sentHashes.slice(0, kept).every((hash) => hash !== ''));
    const large = stored(Buffer.alloc(bound));
    await ask(large, at(0));
    await ask(large, at(0));
    assert.equal(sentHashes.at(-1), '');
  });
});
