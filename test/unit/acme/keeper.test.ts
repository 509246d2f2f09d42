import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { openAcmeFiles } from '../../../src/acme/acme-files.ts';
import { createKeeper, type KeeperOptions } from '../../../src/acme/keeper.ts';
import { takeName } from '../../../src/system/files/name-lock.ts';
import { createSelfSigned } from '../../../src/tls/issue/signed-structure.ts';

const host = 'registry.example.com';
const dayMs = 86_400_000;
const start = Date.now();

describe('a keeper that waits for others', () => {
  let folder: string;
  let nowMs: number;
  let said: string[];
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tidegate-acme-'));
    nowMs = start;
    said = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Its CA cannot be reached: a failure is a try. */
  const keep = (lock: KeeperOptions['lock']) => {
    const log = (...texts: unknown[]) => void said.push(String(texts.at(-1)));
    return createKeeper(
      {
        ...{ folder, directory: 'https://localhost:1/', hosts: [host], email: null, ca: null },
        ...{ challenge: 'tls-alpn-01', keyType: 'EC256', externalAccount: null },
      },
      {
        ...{ logger: { info: () => {}, warn: log, error: log }, lock },
        publish: () => Promise.resolve(),
        onOrder: () => {},
        signal: new AbortController().signal,
        now: () => nowMs,
        random: () => 0,
      },
    );
  };
  const hasTried = () => said.some((text) => text.startsWith('No certificate could be obtained'));
  /** Writes a certificate of 100 days, of which so many are left, as the CA issued it. */
  const write = async (daysLeft: number) => {
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const notAfter = new Date(start + daysLeft * dayMs);
    const notBefore = new Date(notAfter.getTime() - 100 * dayMs);
    const pem = createSelfSigned({ key, commonName: 'a CA', names: [host], notBefore, notAfter });
    const files = openAcmeFiles(folder, '');
    await files.saveCertificate(String(key.export({ type: 'pkcs8', format: 'pem' })), pem);
    const fingerprint = (await files.certificate())?.leaf.fingerprint256 ?? '';
    await files.saveProgress({
      ...{ directory: 'https://localhost:1/', failedAtMs: [], failures: 0, retryAtMs: null },
      ...{ isRetrySetByCa: false, lastFailure: null, renewal: null },
      issued: { fingerprint, directory: 'https://localhost:1/', atMs: notBefore.getTime() },
    });
  };

  for (const [daysLeft, tries] of [
    [20, false],
    [9, true],
    [-5, true],
  ] as const)
    it(`${tries ? 'does not wait' : 'waits'} for a Redis that is away with ${daysLeft} of 100 days left`, async () => {
      await write(daysLeft);
      await keep(() => Promise.resolve('unavailable')).look();
      assert.equal(hasTried(), tries, said.join());
    });

  it('does not wait for ever for a name that somebody else on the machine has taken', async (t) => {
    const { dev, ino } = await stat(folder, { bigint: true });
    const taken = await takeName(`tidegate-acme-${dev}-${ino}`);
    assert.ok(taken);
    t.after(() => taken.release());
    const keeper = keep(null);
    await keeper.look();
    nowMs += 14 * 60_000;
    await keeper.look();
    assert.equal(hasTried(), false);
    nowMs += 2 * 60_000;
    await keeper.look();
    assert.equal(hasTried(), true);
    assert.match(said.join(), /another process seems to order for longer than an order takes/);
  });
});
