import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createReloader } from '../../../src/supervisor/reloader.ts';
import { loadConfig } from '../../../src/config/load/load.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

test('reloads that are asked for before the next one begins are that one', async () => {
  const sources = { configPath: undefined, flavor: undefined, env: {}, cwd: '/', set: [] };
  const { config } = await loadConfig(sources);
  const pem = {
    cert: '',
    key: '',
    clientCa: null,
    upstreamCa: null,
    routeCas: {},
    redisCa: null,
    alertsCa: null,
    issuerCas: {},
    tokenSecrets: [],
    names: [],
    notAfterMs: 0,
    origin: 'files' as const,
  };
  const loads: (() => void)[] = [];
  const reloader = createReloader({
    initial: { config, pem },
    configPath: null,
    load: () =>
      new Promise((_, reject) => loads.push(() => reject(new OperatorError(`Load ${loads.length}.`)))),
    serving: { prepare: () => Promise.reject(new Error('nothing is to be prepared')) },
    onReload: () => {},
    logger: pino({ level: 'silent' }),
  });
  try {
    const first = reloader.reload();
    await Promise.resolve();
    assert.equal(loads.length, 1);
    // It may have read the files already: these are not served by it.
    const further = Array.from({ length: 1000 }, () => reloader.reload());
    loads[0]?.();
    assert.deepEqual(await first, { ok: false, sentence: 'Load 1.' });
    await new Promise(setImmediate);
    loads[1]?.();
    for (const outcome of await Promise.all(further))
      assert.deepEqual(outcome, { ok: false, sentence: 'Load 2.' });
    assert.equal(loads.length, 2);
  } finally {
    reloader.close();
  }
});

test('a configuration file that is empty or gone is not one of nothing but defaults', async () => {
  const sources = { configPath: undefined, flavor: undefined, env: {}, cwd: '/', set: [] };
  const { config } = await loadConfig({ ...sources, set: ['auth.realm=Own'] });
  const defaults = await loadConfig(sources);
  const pem = {
    cert: '',
    key: '',
    clientCa: null,
    upstreamCa: null,
    routeCas: {},
    redisCa: null,
    alertsCa: null,
    issuerCas: {},
    tokenSecrets: [],
    names: [],
    notAfterMs: 0,
    origin: 'files' as const,
  };
  for (const [now, sentence] of [
    [{ configPath: '/t.yml', isEmpty: true }, /^The configuration file \/t\.yml is empty: restore it/],
    [{ configPath: null, isEmpty: false }, /^The configuration file \/t\.yml is gone: restore it/],
  ] as const) {
    const reloader = createReloader({
      initial: { config, pem },
      configPath: '/t.yml',
      load: () => Promise.resolve({ config: defaults.config, ...now }),
      serving: { prepare: () => Promise.reject(new Error('nothing is to be prepared')) },
      onReload: () => {},
      logger: pino({ level: 'silent' }),
    });
    try {
      const outcome = await reloader.reload();
      assert.match(outcome.ok ? '' : outcome.sentence, sentence);
    } finally {
      reloader.close();
    }
  }
});
