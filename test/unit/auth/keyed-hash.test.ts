import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createKeyedHash } from '../../../src/auth/keyed-hash.ts';

describe('createKeyedHash', () => {
  it('is HMAC-SHA256', () => {
    const key = Buffer.from(randomBytes(64).map((byte) => byte & 0x7f));
    const keyedHash = createKeyedHash(key);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        assert.equal(keyedHash(text), createHmac('sha256', key).update(text).digest('base64'));
      }),
    );
  });

  it('has another key each time', () => {
    assert.notEqual(createKeyedHash()('text'), createKeyedHash()('text'));
  });
});
