import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { createLogOutput } from '../../../src/observability/log-output.ts';

for (const isShared of [false, true]) {
  test(`lines are written in order, ${isShared ? 'by several processes' : 'by one'}`, async () => {
    const file = path.join(tmpdir(), `tidegate-test-log-${process.pid}`);
    const fd = openSync(file, 'w');
    const output = createLogOutput(fd, isShared);
    const lines = Array.from({ length: 1000 }, (_, i) => `${'x'.repeat((i * 7) % 5000)}${i}\n`);
    for (const line of lines) output.stream.write(line);
    assert.equal(await output.flush(5000), true);
    assert.equal(readFileSync(file, 'utf8'), lines.join(''));
    closeSync(fd);
    rmSync(file);
  });
}

test('a full disk is no error, only a flush that does not end in time', async () => {
  const fd = openSync('/dev/full', 'w');
  const output = createLogOutput(fd, false);
  output.stream.write('line\n');
  assert.equal(await output.flush(300), false);
  assert.equal(output.stream.errored, null);
});
