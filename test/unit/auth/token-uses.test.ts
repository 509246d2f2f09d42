import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  createTokenUseRecorder,
  readTokenUses,
  usesPathOf,
} from '../../../src/auth/machine-tokens/token-uses.ts';

describe('last uses of machine tokens', () => {
  let folder: string;
  let path: string;
  let warnings: string[];
  let nowMs: number;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tidegate-uses-'));
    path = join(folder, 'tokens.used.json');
    warnings = [];
    nowMs = Date.UTC(2026, 10, 29, 12);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const open = (names = ['ci', 'robot'], at = path) =>
    createTokenUseRecorder({
      path: at,
      isToken: (name) => names.includes(name),
      logger: { warn: (_fields, message) => void warnings.push(message) },
      now: () => nowMs,
    });
  const used = async () => Object.fromEntries((await readTokenUses(path)).used);

  test('stand beside the tokens', () => {
    assert.equal(usesPathOf('/etc/tidegate/tokens.yml'), '/etc/tidegate/tokens.used.json');
    assert.equal(usesPathOf('tokens'), 'tokens.used.json');
  });

  test('are written with day and address, and the later one stays', async () => {
    const first = open();
    first.note('ci', '192.0.2.1');
    first.note('ci', '192.0.2.2');
    first.note('robot', '192.0.2.3');
    await first.close();
    assert.deepEqual(await used(), {
      ci: { day: '2026-11-29', address: '192.0.2.2' },
      robot: { day: '2026-11-29', address: '192.0.2.3' },
    });
    nowMs -= 24 * 60 * 60 * 1000; // of an instance whose clock is late
    const late = open();
    late.note('ci', '192.0.2.9');
    await late.close();
    assert.equal((await used())['ci']?.address, '192.0.2.2');
    nowMs += 2 * 24 * 60 * 60 * 1000;
    const next = open(['ci']);
    next.note('ci', '192.0.2.4');
    await next.close();
    // What is no token any more is dropped; the day since when uses are known stays.
    assert.deepEqual(await used(), { ci: { day: '2026-11-30', address: '192.0.2.4' } });
    assert.equal((await readTokenUses(path)).since, '2026-11-29');
  });

  test('are written once for each day and address', async () => {
    const recorder = open();
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    const before = readFileSync(path, 'utf8');
    rmSync(path);
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    assert.throws(() => readFileSync(path));
    nowMs += 24 * 60 * 60 * 1000;
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    assert.notEqual(readFileSync(path, 'utf8'), before);
  });

  test('may lie elsewhere, behind a link that leads to nothing yet', async () => {
    mkdirSync(join(folder, 'state'));
    symlinkSync(join(folder, 'state', 'used.json'), path);
    const recorder = open();
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    assert.equal((await used())['ci']?.address, '192.0.2.1');
    assert.ok(existsSync(join(folder, 'state', 'used.json')));
  });

  test('that cannot be written are said once, and fail nothing', async () => {
    const recorder = open(['ci'], join(folder, 'missing', 'tokens.used.json'));
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    recorder.note('ci', '192.0.2.2');
    await recorder.close();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /cannot be kept, so nothing warns of unused ones: /);
  });

  test('of a file that is broken begin anew, and are not shown', async () => {
    writeFileSync(path, '{');
    await assert.rejects(readTokenUses(path), /does not say/);
    const recorder = open();
    recorder.note('ci', '192.0.2.1');
    await recorder.close();
    assert.equal((await used())['ci']?.day, '2026-11-29');
  });

  test('are none where there is no file', async () => {
    assert.deepEqual(await readTokenUses(path), { since: null, used: new Map() });
  });
});
