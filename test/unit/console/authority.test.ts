import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthorityReader } from '../../../src/console/changes/authority.ts';
import { copyCertificate } from '../../support/certificate-files.ts';

describe('the CA that clients are given', () => {
  let dir = '';
  let server = '';
  let authority = '';
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(dir, ['localhost']);
    const chain = await readFile(path.join(dir, 'server.crt'), 'utf8');
    [server = ''] = chain.split(/(?<=-----END CERTIFICATE-----\n)/);
    authority = await readFile(path.join(dir, 'ca.crt'), 'utf8');
  });
  after(() => rm(dir, { recursive: true }));

  it('is the one beside the certificate, as long as it has signed it', async () => {
    const beside = path.join(dir, 'ca.crt');
    const read = createAuthorityReader(server, path.join(dir, 'server.crt'));
    const found = await read();
    assert.equal(found?.pem.trim(), authority.trim());
    await writeFile(beside, server);
    assert.equal(await read(), null);
    await rm(beside);
    assert.equal(await read(), null);
    await writeFile(beside, authority);
    assert.deepEqual(await read(), found);
  });

  it('is looked for once, whoever asks how often', async () => {
    for (const [chain, file] of [
      [server, path.join(dir, 'server.crt')],
      [server + authority, null],
    ] as const) {
      const read = createAuthorityReader(chain, file);
      const found = await read();
      assert.notEqual(found, null);
      assert.equal(await read(), found);
    }
  });
});
