import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CollectedBytes } from '../../../src/system/collected-bytes.ts';

test('gives back what came, in whatever pieces, and holds at most twice as much', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 3000 })), (pieces) => {
      const bytes = new CollectedBytes();
      for (const piece of pieces) bytes.add(Buffer.from(piece));
      const whole = Buffer.concat(pieces);
      assert.equal(bytes.length, whole.length);
      assert.ok(bytes.heldBytes <= Math.max(1024, 2 * whole.length));
      assert.deepEqual(bytes.read(), whole);
    }),
  );
});
