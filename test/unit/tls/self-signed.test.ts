import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { createCertificates } from '../../../src/tls/issue/self-signed.ts';

const now = new Date('2030-06-01T12:00:00.400Z');
const dayMs = 86_400_000;
const fileNames = ['ca.crt', 'ca.key', 'server.crt', 'server.key'] as const;

type Options = Partial<Parameters<typeof createCertificates>[0]>;
const create = (outDir: string, options: Options = {}) =>
  createCertificates({ outDir, hosts: [], ips: [], now, ...options });

let folder: string;
let made: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-self-signed-'));
  made = join(folder, 'made');
  await create(made, { hosts: ['reg.example.com', '*.reg.example.com', '::1'], ips: ['192.0.2.7'] });
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the made folder for one test. */
function copy(...names: readonly (typeof fileNames)[number][]): string {
  const target = mkdtempSync(join(folder, 'copy-'));
  for (const name of names.length > 0 ? names : fileNames) copyFileSync(join(made, name), join(target, name));
  return target;
}

const contents = (outDir: string) =>
  Object.fromEntries(readdirSync(outDir).map((name) => [name, readFileSync(join(outDir, name), 'utf8')]));
const text = (path: string) =>
  execFileSync('openssl', ['x509', '-in', path, '-noout', '-text'], { encoding: 'utf8' });
const verify = (outDir: string, at: Date = now) =>
  execFileSync(
    'openssl',
    [
      'verify',
      '-x509_strict',
      '-attime',
      String(Math.floor(at.getTime() / 1000)),
      '-purpose',
      'sslserver',
    ].concat(['-CAfile', join(outDir, 'ca.crt'), join(outDir, 'server.crt')]),
    { encoding: 'utf8' },
  );

async function refusal(outDir: string, options: Options = {}): Promise<string> {
  const earlier = contents(outDir);
  const error: unknown = await create(outDir, options).then(
    () => assert.fail('was not refused'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof OperatorError, String(error));
  assert.deepEqual(contents(outDir), earlier, 'a refusal changes no file and leaves none behind');
  return error.message;
}

describe('a first run', () => {
  it('makes a pair that openssl verifies strictly', () => assert.match(verify(made), /: OK/));

  it('leaves exactly four files, the keys for their owner only', () => {
    assert.deepEqual(readdirSync(made).sort(), [...fileNames]);
    for (const name of ['ca.key', 'server.key']) {
      assert.equal(statSync(join(made, name)).mode & 0o777, 0o600);
      assert.match(readFileSync(join(made, name), 'utf8'), /^-----BEGIN PRIVATE KEY-----\n/);
    }
  });

  it('makes a CA of RFC 5280', () => {
    const ca = text(join(made, 'ca.crt'));
    assert.match(ca, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    assert.match(ca, /Key Usage: critical\s+Certificate Sign, CRL Sign/);
    assert.match(ca, /Subject Key Identifier/);
    assert.match(ca, /\(3072 bit\)/);
  });

  it('makes a leaf with all names, for servers only', () => {
    const leaf = text(join(made, 'server.crt'));
    assert.match(leaf, /Subject: CN = reg\.example\.com\n/);
    assert.match(
      leaf,
      /DNS:reg\.example\.com, DNS:\*\.reg\.example\.com, IP Address:0:0:0:0:0:0:0:1, IP Address:192\.0\.2\.7/,
    );
    assert.match(leaf, /Basic Constraints: critical\s+CA:FALSE/);
    assert.match(leaf, /[^d] Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    assert.match(leaf, /Extended Key Usage: \s+TLS Web Server Authentication\n/);
    assert.match(leaf, /Authority Key Identifier/);
    assert.match(leaf, /\(2048 bit\)/);
    assert.match(leaf, /sha256WithRSAEncryption/);
  });

  it('puts the leaf first, then the CA', () => {
    const chain = readFileSync(join(made, 'server.crt'), 'utf8');
    assert.ok(chain.endsWith(readFileSync(join(made, 'ca.crt'), 'utf8')));
    assert.equal(chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
  });

  it('backdates by an hour and stays within 825 days', () => {
    const leaf = new X509Certificate(readFileSync(join(made, 'server.crt')));
    assert.equal(new Date(leaf.validFrom).toISOString(), '2030-06-01T11:00:00.000Z');
    // Both ends belong to the period (RFC 5280 section 4.1.2.5).
    const lifetimeMs = new Date(leaf.validTo).getTime() - new Date(leaf.validFrom).getTime() + 1000;
    assert.equal(lifetimeMs, 825 * dayMs);
  });

  it('gives each certificate its own positive serial number of 159 bits', () => {
    for (const name of ['ca.crt', 'server.crt']) {
      const { serialNumber } = new X509Certificate(readFileSync(join(made, name)));
      assert.match(serialNumber, /^[4-7][0-9A-F]{39}$/);
    }
  });

  it('leaves a name too long for a common name to the SAN, which is critical then', async () => {
    const outDir = copy('ca.crt', 'ca.key');
    await create(outDir, { hosts: [`${'a'.repeat(60)}.example.com`] });
    assert.match(text(join(outDir, 'server.crt')), /Subject: ?\n[^]*Subject Alternative Name: critical/);
    assert.match(verify(outDir), /: OK/);
  });

  it('names the same host once', async () => {
    const { names } = await create(copy('ca.crt', 'ca.key'), {
      hosts: ['A.example', 'a.example', '::1'],
      ips: ['0::1'],
    });
    assert.deepEqual(names, ['a.example', '::1']);
  });
});

describe('a further run', () => {
  it('renews the leaf alone: same names, same key, same CA', async () => {
    const outDir = copy();
    chmodSync(join(outDir, 'server.key'), 0o640);
    const later = new Date(now.getTime() + 800 * dayMs);
    const earlier = contents(outDir);
    const result = await create(outDir, { now: later });
    assert.equal(result.created, 'renewed-leaf');
    assert.equal(result.keptKey, true);
    assert.deepEqual(result.names, ['reg.example.com', '*.reg.example.com', '::1', '192.0.2.7']);
    const { 'server.crt': renewed, ...rest } = contents(outDir);
    const { 'server.crt': old, ...kept } = earlier;
    assert.notEqual(renewed, old);
    assert.deepEqual(rest, kept);
    assert.equal(statSync(join(outDir, 'server.key')).mode & 0o777, 0o640, "the operator's own mode is kept");
    assert.match(verify(outDir, later), /: OK/);
  });

  it('takes new names', async () => {
    const outDir = copy();
    await create(outDir, { hosts: ['other.example'] });
    assert.equal(
      new X509Certificate(readFileSync(join(outDir, 'server.crt'))).subjectAltName,
      'DNS:other.example',
    );
  });

  it('renews an expired leaf', async () => {
    const outDir = copy();
    const later = new Date(now.getTime() + 900 * dayMs);
    await create(outDir, { now: later });
    assert.match(verify(outDir, later), /: OK/);
  });

  it('never lets the leaf outlive the CA', async () => {
    const outDir = copy();
    const later = new Date(now.getTime() + 3600 * dayMs);
    const { notAfter, caNotAfter } = await create(outDir, { now: later });
    assert.deepEqual(notAfter, caNotAfter);
    assert.match(verify(outDir, later), /: OK/);
  });

  it('makes a lost server.key anew', async () => {
    const outDir = copy('ca.crt', 'ca.key', 'server.crt');
    const result = await create(outDir);
    assert.equal(result.keptKey, false);
    assert.equal(statSync(result.keyPath).mode & 0o777, 0o600);
    assert.match(verify(outDir), /: OK/);
  });

  it('with --force makes a new server key, under the same CA and for the same names', async () => {
    const outDir = copy();
    const earlier = contents(outDir);
    await create(outDir, { force: true });
    const later = contents(outDir);
    assert.notEqual(later['server.key'], earlier['server.key']);
    assert.equal(later['ca.crt'], earlier['ca.crt']);
    assert.equal(later['ca.key'], earlier['ca.key']);
    assert.match(verify(outDir), /: OK/);
  });
});

describe('what it did not make', () => {
  /** A self-signed certificate and key of someone else. */
  function foreign(outDir: string, name: string, algorithm: readonly string[] = ['rsa:2048']): void {
    const args = [
      'req',
      '-x509',
      '-nodes',
      '-days',
      '3650',
      '-subj',
      '/CN=Überseehafen',
      '-utf8',
      '-newkey',
      ...algorithm,
    ];
    const usage = ['-addext', 'keyUsage=critical,keyCertSign,digitalSignature'];
    const paths = ['-keyout', join(outDir, `${name}.key`), '-out', join(outDir, `${name}.crt`)];
    const { status, stderr } = spawnSync('openssl', [...args, ...usage, ...paths], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }

  it('a CA without its key, or a key without its CA, is refused, forced or not', async () => {
    for (const force of [false, true]) {
      assert.match(
        await refusal(copy('ca.crt'), { hosts: ['a'], force }),
        /ca\.crt is there without .*ca\.key/,
      );
      assert.match(await refusal(copy('ca.key'), { hosts: ['a'], force }), /never overwritten.*--out/);
    }
  });

  it('a CA with the key of another is refused', async () => {
    const outDir = copy();
    copyFileSync(join(outDir, 'server.key'), join(outDir, 'ca.key'));
    assert.match(await refusal(outDir, { force: true }), /ca\.key is not the key of .*ca\.crt.*--out/);
  });

  it('a certificate that is no CA, or an EC one, is refused as CA', async () => {
    const outDir = copy();
    copyFileSync(join(outDir, 'server.key'), join(outDir, 'ca.key'));
    copyFileSync(join(outDir, 'server.crt'), join(outDir, 'ca.crt'));
    assert.match(await refusal(outDir), /is not a CA certificate/);
    const ec = copy();
    foreign(ec, 'ca', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']);
    assert.match(await refusal(ec, { now: new Date() }), /not a CA certificate with an RSA key/);
  });

  it("someone else's RSA CA can be used, and stays as it is", async () => {
    const outDir = mkdtempSync(join(folder, 'foreign-'));
    foreign(outDir, 'ca');
    const { 'ca.crt': ca } = contents(outDir);
    const today = new Date();
    await create(outDir, { hosts: ['a.example'], now: today });
    assert.equal(contents(outDir)['ca.crt'], ca);
    assert.match(verify(outDir, today), /: OK/);
  });

  it('an expired CA is refused, saying so', async () => {
    const later = new Date(now.getTime() + 3651 * dayMs);
    assert.match(await refusal(copy(), { now: later, force: true }), /CA .*ca\.crt has expired.*--out/);
  });

  it('a server certificate of another issuer is refused without --force', async () => {
    const outDir = copy('ca.crt', 'ca.key');
    foreign(outDir, 'server');
    assert.match(
      await refusal(outDir, { hosts: ['a.example'] }),
      /server\.crt was not issued by the CA .*--force/,
    );
    const ca = contents(outDir)['ca.crt'];
    await create(outDir, { hosts: ['a.example'], force: true });
    assert.equal(contents(outDir)['ca.crt'], ca);
    assert.match(verify(outDir), /: OK/);
  });

  it("an operator's own pair without any CA is refused, and no CA is made beside it", async () => {
    const outDir = mkdtempSync(join(folder, 'own-'));
    foreign(outDir, 'server');
    assert.match(await refusal(outDir, { hosts: ['a.example'] }), /not issued by the CA/);
  });

  it('a server key of another certificate, or of none, is refused without --force', async () => {
    const outDir = copy();
    copyFileSync(join(outDir, 'ca.key'), join(outDir, 'server.key'));
    assert.match(await refusal(outDir), /server\.key is not the key of .*server\.crt.*--force/);
    assert.match(
      await refusal(copy('ca.crt', 'ca.key', 'server.key'), { hosts: ['a'] }),
      /without .*server\.crt/,
    );
  });

  it('an encrypted key is refused with the way to strip it', async () => {
    const outDir = copy();
    const args = ['pkey', '-in', join(made, 'ca.key'), '-aes256', '-passout', 'pass:x'];
    execFileSync('openssl', [...args, '-out', join(outDir, 'ca.key')]);
    assert.match(await refusal(outDir), /ca\.key is encrypted.*openssl pkey -in/);
  });

  it('rubbish is refused', async () => {
    const outDir = copy();
    writeFileSync(join(outDir, 'server.crt'), 'hello');
    assert.match(await refusal(outDir), /server\.crt holds no certificate in PEM form/);
  });

  it('a symbolic link is refused; with --force the link is replaced, never what it points to', async () => {
    const outDir = copy('ca.crt', 'ca.key', 'server.crt');
    const elsewhere = join(mkdtempSync(join(folder, 'link-')), 'privkey.pem');
    copyFileSync(join(made, 'server.key'), elsewhere);
    symlinkSync(elsewhere, join(outDir, 'server.key'));
    assert.match(await refusal(outDir), /server\.key is a symbolic link/);
    await create(outDir, { hosts: ['a.example'], force: true });
    assert.equal(readFileSync(elsewhere, 'utf8'), readFileSync(join(made, 'server.key'), 'utf8'));
    assert.notEqual(readFileSync(join(outDir, 'server.key'), 'utf8'), readFileSync(elsewhere, 'utf8'));

    const linkedCa = copy('ca.crt');
    symlinkSync(join(made, 'ca.key'), join(linkedCa, 'ca.key'));
    assert.match(await refusal(linkedCa, { hosts: ['a'], force: true }), /ca\.key is a symbolic link.*--out/);
  });

  it('a CA that another run makes at the same time is not overwritten', async () => {
    const outDir = mkdtempSync(join(folder, 'race-'));
    const runs = await Promise.allSettled([1, 2, 3].map(() => create(outDir, { hosts: ['a.example'] })));
    assert.equal(runs.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const run of runs) {
      if (run.status === 'rejected')
        assert.match(String(run.reason), /another process.*run the command again/);
    }
    assert.deepEqual(readdirSync(outDir).sort(), [...fileNames]);
    assert.match(verify(outDir), /: OK/);
  });
});

describe('a folder that can not be', () => {
  it('is named', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await assert.rejects(create(join(file, 'certs'), { hosts: ['a'] }), /OperatorError: .*file/);
  });
});
