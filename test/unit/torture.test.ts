import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { format, resolveConfig } from 'prettier';
import { root, run } from '../support/processes.ts';
import { loadFindings } from '../../torture/findings.ts';
import { parts } from '../../torture/parts.ts';
import { loadResults, mergeResults, renderPage, type PublishedRun } from '../../torture/publication.ts';

const folder = (name: string) => path.join(root, 'torture', name);

describe('the parts of the torture suite', () => {
  test('each has one file, is in the list, and has a test that runs it in its quick form', () => {
    const files = readdirSync(folder('parts')).sort();
    const list = readFileSync(folder('parts.ts'), 'utf8');
    assert.equal(parts.length, files.length);
    assert.equal(new Set(parts.map(({ name }) => name)).size, parts.length);
    for (const file of files) {
      assert.ok(list.includes(`'./parts/${file}'`), `torture/parts.ts does not import ${file}`);
      const quick = readFileSync(
        path.join(root, 'test/long/torture', file.replace(/\.ts$/, '.test.ts')),
        'utf8',
      );
      assert.ok(quick.includes(`/torture/parts/${file}'`), `test/long/torture has no test of ${file}`);
    }
  });

  test('a part that there is not is refused before anything is compiled, with the names of those that there are', async () => {
    const { code, stdout, stderr } = await run(process.execPath, ['torture/run.mjs', '--only', 'soak,soap'], {
      cwd: root,
    });
    assert.deepEqual([code, stdout], [2, '']);
    const names = parts.map(({ name }) => name).join(', ');
    assert.equal(stderr.split('\n')[0], `There is no part soap. There are: ${names}.`);
  });

  test('docs/torture.md says what was published last: else npm run torture -- --render', async () => {
    const [results, findings] = [loadResults(), loadFindings()];
    const file = path.join(root, 'docs/torture.md');
    const options = { ...(await resolveConfig(file)), filepath: file };
    assert.equal(readFileSync(file, 'utf8'), await format(renderPage(results, findings), options));
    assert.deepEqual(
      results.flatMap(({ broke }) => broke),
      [],
      'what is published has broken',
    );
  });

  test('a part that is published alone leaves those of the others as they are', () => {
    const [other, one] = loadResults();
    assert.ok(other && one);
    const { form, load, version, date, machine } = other;
    const run: PublishedRun = { form, seed: 1, load, version, date, machine };
    const result = { ...one, tried: 7 };
    const names = parts.map(({ name }) => name);
    const published = mergeResults(names, [result], run);
    assert.deepEqual(
      published.filter(({ name }) => name !== one.name),
      loadResults().filter(({ name }) => name !== one.name),
    );
    const { tried, seed } = published.find(({ name }) => name === one.name) ?? {};
    assert.deepEqual([tried, seed], [7, 1]);
  });

  test('each finding is one of theirs', () => {
    const names = new Set(parts.map(({ name }) => name));
    for (const { part, found } of loadFindings()) assert.ok(names.has(part), `${part}: ${found}`);
  });
});

test('each test that test/README.md says notices a fault is there', () => {
  const page = readFileSync(path.join(root, 'test/README.md'), 'utf8');
  const rows = [...page.matchAll(/^\|.*\| \[.*\]\((.*\.test\.ts)\) \| (.*) \|$/gm)];
  assert.ok(rows.length >= 12);
  const sources = ['test', 'torture'].flatMap((name) =>
    readdirSync(path.join(root, name), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(path.join(root, name, file), 'utf8')),
  );
  for (const [, file = '', title = ''] of rows) {
    assert.ok(existsSync(path.join(root, 'test', file)), file);
    assert.ok(
      sources.some((text) => text.includes(title)),
      title,
    );
  }
});
