import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeMemory } from '../../../src/system/free-memory.ts';

test('freeMemory frees at once what a buffer has for itself, and leaves what it shares', () => {
  const own = Buffer.allocUnsafeSlow(1024 * 1024);
  const other = Buffer.allocUnsafeSlow(10);
  const whole = Buffer.from('shared');
  const part = Buffer.allocUnsafeSlow(20).fill('x').subarray(5);
  const before = process.memoryUsage().arrayBuffers;
  freeMemory([own, other, whole, part]);
  assert.ok(process.memoryUsage().arrayBuffers <= before - 1024 * 1024);
  assert.deepEqual([own.length, other.length], [0, 0]);
  assert.equal(whole.toString(), 'shared');
  assert.equal(part.toString(), 'x'.repeat(15));
});
