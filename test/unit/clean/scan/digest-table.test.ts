import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DigestMemory } from '../../../../src/clean/scan/digest-memory.ts';
import { DigestTable } from '../../../../src/clean/scan/digest-table.ts';
import { ManifestReader } from '../../../../src/clean/scan/manifest-reader.ts';

describe('a table of digests', () => {
  test('numbers each once, in order, whatever its algorithm', () => {
    const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
    const few = fc.constantFrom('0'.repeat(64), 'f'.repeat(64), `00000000${'1'.repeat(56)}`);
    const odd = fc.constantFrom('sha256:short', `sha256:${'A'.repeat(64)}`, `sha256:${'g'.repeat(64)}`, '');
    const digest = fc.oneof(
      fc.tuple(fc.constantFrom('sha256', 'sha512'), fc.oneof(hex, few)).map((parts) => parts.join(':')),
      odd,
    );
    fc.assert(
      fc.property(fc.array(digest), fc.array(digest), (added, asked) => {
        const table = new DigestTable();
        const model = new Map<string, number>();
        for (const text of added) {
          if (!model.has(text)) model.set(text, model.size);
          assert.equal(table.add(text), model.get(text));
        }
        assert.equal(table.size, model.size);
        for (const text of [...asked, ...added]) assert.equal(table.numberOf(text), model.get(text) ?? null);
        for (const [text, number] of model) assert.equal(table.digestOf(number), text);
        assert.throws(() => table.digestOf(model.size), RangeError);
      }),
    );
  });

  test('grows', () => {
    const table = new DigestTable();
    const digest = (number: number) => `sha256:${number.toString(16).padStart(8, '0').repeat(8)}`;
    for (let number = 0; number < 20_000; number++) table.add(digest(number));
    for (let number = 0; number < 20_000; number++) assert.equal(table.numberOf(digest(number)), number);
    assert.equal(table.has(digest(20_000)), false);
    assert.equal(table.digestOf(19_999), digest(19_999));
  });
});

// Whoever may push can have any digests named in a manifest.
test('digests that begin, or end, alike take no longer than others', { timeout: 240_000 }, () => {
  const table = new DigestTable();
  for (let i = 0; i < 200_000; i++) {
    const hex = i.toString(16).padStart(8, '0');
    table.add(`sha256:${'0'.repeat(56)}${hex}`);
    table.add(`sha256:${hex}${'0'.repeat(56)}`);
  }
  assert.equal(table.size, 399_999);
});

describe('what digests may take', () => {
  const digests = (count: number) =>
    Array.from({ length: count }, (_, i) => `sha256:${String(i).padStart(64, '0')}`);

  test('ends with an error that names the setting', () => {
    const table = new DigestTable(new DigestMemory(3 * 2 ** 20));
    assert.throws(() => {
      for (const digest of digests(100_000)) table.add(digest);
    }, /more than 3 MiB of memory \(clean\.digestMemory\)/);
  });

  test('ends a scan of manifests that name very many, instead of taking them for damaged', () => {
    const root = mkdtempSync(join(tmpdir(), 'tidegate-digests-'));
    try {
      const body = JSON.stringify({ layers: digests(40_000).map((digest) => ({ digest })) });
      const hex = createHash('sha256').update(body).digest('hex');
      const folder = join(root, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'data'), body);
      const reader = new ManifestReader(root, { memory: new DigestMemory(2 * 2 ** 20) });
      assert.throws(() => reader.read(`sha256:${hex}`), /clean\.digestMemory/);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
