import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { createCacheClient } from '../../support/cache-client.ts';
import { cleanCommand, startCleaner } from '../../support/cleaner.ts';
import { createHistory, newest, readStoredDigests, retiringRepository } from '../../support/clean-history.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const pushes = Number(process.env['PUSHES'] ?? '500');
const limitMs = Number(process.env['LIMIT_MS'] ?? '60000');
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

describe(
  'a registry that is cleaned while it is used loses nothing',
  { skip: unlessInstalled('docker-registry'), timeout: 2 * limitMs + 120_000 },
  () => {
    for (const remembersBlobs of [false, true])
      test(`with its descriptor cache ${remembersBlobs ? 'in memory' : 'off'}`, (t) =>
        tryHistory(t, remembersBlobs));
  },
);

async function tryHistory(t: TestContext, remembersBlobs: boolean): Promise<void> {
  const registry = await startRegistry({ remembersBlobs });
  const config = `
upstream: { url: ${registry.url}, storage: ${registry.storageDir} }
workers: 2
clean:
  grace: 0s
  untagged: 0s
  socket: ${path.join(registry.storageDir, '..', 'clean.sock')}
  rules:
    - { repositories: ["${retiringRepository}"], tags: ["*"], keep: { newest: ${newest} } }
`;
  const frontDoor = await startFrontDoor({ upstreamUrl: null, config, set: ['workers=2'] });
  t.after(() => registry.stop());
  t.after(() => frontDoor.stop());
  const configPath = path.join(frontDoor.dir, 'tidegate.yml');
  const cleaner = await startCleaner(['--config', configPath], frontDoor.dir);
  t.after(() => cleaner.stop());
  const clients = Array.from({ length: 4 }, () => createCacheClient(frontDoor));
  t.diagnostic(`SEED=${seed}`);
  const history = createHistory(clients, seed);
  try {
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), limitMs);
    const running = history.run({ pushes, writers: 10, readers: 4, signal: over.signal });
    let ended = false;
    const cleaning = cleanUntil(frontDoor, configPath, () => ended);
    await running.finally(() => (ended = true));
    clearTimeout(timer);
    const runs = await cleaning;
    // Nothing is used now: what is free is free.
    for (let i = 0; i < 2; i += 1) await clean(frontDoor, configPath);
    await history.check();
    t.diagnostic(`${JSON.stringify(history.counts)}, ${runs} runs`);
    assert.deepEqual(history.losses, []);
    assert.ok(runs > 0);
    await checkDisk(registry, await history.reachable());
  } finally {
    for (const client of clients) client.close();
  }
}

/** Cleans again and again. @returns how often */
async function cleanUntil(frontDoor: FrontDoor, configPath: string, isOver: () => boolean): Promise<number> {
  let runs = 0;
  while (!isOver()) {
    await clean(frontDoor, configPath);
    runs += 1;
  }
  return runs;
}

async function clean(frontDoor: FrontDoor, configPath: string): Promise<void> {
  const { code, stdout, stderr } = await cleanCommand(
    ['clean', 'run', '--yes', '--config', configPath],
    frontDoor.dir,
  );
  assert.equal(code, 0, `${stdout}\n${stderr}`);
}

async function checkDisk(registry: Registry, reachable: ReadonlySet<string>): Promise<void> {
  const stored = await readStoredDigests(registry.storageDir);
  const lost = [...reachable].filter((digest) => !stored.has(digest));
  const left = [...stored].filter((digest) => !reachable.has(digest));
  assert.deepEqual({ lost, left }, { lost: [], left: [] });
}
