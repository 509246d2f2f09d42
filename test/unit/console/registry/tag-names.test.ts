import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleError } from '../../../../src/console/console-error.ts';
import type { RegistryClient } from '../../../../src/console/registry/registry-client.ts';
import { readTagNames } from '../../../../src/console/registry/tag-names.ts';

/** Lists tags in parts. */
function listTags(parts: readonly (readonly string[])[]): RegistryClient {
  return {
    ask: (_method, path) => {
      const part = Number(/\?part=(\d+)/.exec(path)?.[1] ?? 0);
      const link = part + 1 < parts.length ? `</v2/app/tags/list?part=${part + 1}>; rel="next"` : undefined;
      return Promise.resolve({
        status: 200,
        headers: { link },
        body: Buffer.from(JSON.stringify({ tags: parts[part] })),
      });
    },
  };
}

const read = (...parts: (readonly string[])[]) => readTagNames(listTags(parts), 'app');

test('tags of all parts, as people count', async () => {
  const sorted = [
    '1.2',
    '1.09',
    '1.9',
    '1.10',
    '2',
    '10',
    'a-2',
    'a-10',
    'B',
    'b',
    'latest',
    'v2',
    'v02.1',
    'v10',
  ];
  const found = await read(sorted.toReversed().slice(0, 5), sorted.toReversed().slice(5), ['v2']);
  assert.deepEqual(found, sorted);
});

test('a number of any length', async () => {
  const long = `1${'0'.repeat(127)}`;
  assert.deepEqual(await read([long, '9'.repeat(127), '2']), ['2', '9'.repeat(127), long]);
});

test('more tags than can be sorted without holding up others are refused', async () => {
  const tags = (from: number) => Array.from({ length: 30_000 }, (_, index) => `t${from + index}`);
  assert.equal((await read(tags(0)))?.length, 30_000);
  await assert.rejects(
    read(tags(0), tags(30_000)),
    (error) => error instanceof ConsoleError && error.kind === 'tooMuch',
  );
});
