import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { isPubliclyTrusted } from '../../../src/tls/public-trust.ts';
import { copyCertificate } from '../../support/certificate-files.ts';

describe('a public certificate', () => {
  let dir = '';
  let server = '';
  let authority = '';
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
    await copyCertificate(dir, ['localhost']);
    server = await readFile(path.join(dir, 'server.crt'), 'utf8');
    authority = await readFile(path.join(dir, 'ca.crt'), 'utf8');
  });
  after(() => rm(dir, { recursive: true }));

  it('is one whose chain leads to a CA that clients bring', () => {
    const [root = ''] = rootCertificates;
    assert.equal(isPubliclyTrusted(server, [root, authority]), true);
    assert.equal(isPubliclyTrusted(root), true);
  });

  it('is none of an own CA, also where that is in the chain', () => {
    assert.equal(isPubliclyTrusted(server), false);
    assert.equal(isPubliclyTrusted(server + authority), false);
    assert.equal(isPubliclyTrusted(server + authority + rootCertificates.slice(0, 3).join('\n')), false);
    assert.equal(isPubliclyTrusted(authority, []), false);
  });
});
