import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepCollector } from '../../../../src/clean/paused/keep-collector.ts';

test("a collector and what restarts the registry get none of Tidegate's settings, and no shell", async (t) => {
  process.env['TIDEGATE_CACHE_REDIS_PASSWORD'] = 'secret';
  process.env['REGISTRY_HTTP_SECRET'] = 'its own';
  t.after(() => {
    delete process.env['TIDEGATE_CACHE_REDIS_PASSWORD'];
    delete process.env['REGISTRY_HTTP_SECRET'];
  });
  const names = 'Object.keys(process.env).filter((name) => /^(TIDEGATE|REGISTRY)_/.test(name)).join()';
  const command = [process.execPath, '-e', `console.log(${names}, process.argv[1])`, '$(id); `id`'];
  const restarted: (readonly string[])[] = [];
  const { code, lastLines } = await keepCollector({
    ...{ command, restart: command, maxMs: 60_000, signal: new AbortController().signal },
    onLines: () => {},
    onRestarted: (ended) => restarted.push(ended.lastLines),
  });
  assert.equal(code, 0);
  for (const lines of [lastLines, ...restarted])
    assert.deepEqual(lines, ['REGISTRY_HTTP_SECRET $(id); `id`']);
  assert.equal(restarted.length, 1);
});
