import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { loadClientCa, loadServerCertificate } from '../../../src/tls/certificate.ts';
import { createCertificates } from '../../../src/tls/issue/self-signed.ts';

const now = new Date();
const dayMs = 86_400_000;
const inDays = (days: number) => new Date(now.getTime() + days * dayMs);

let folder: string;
let certPath: string;
let keyPath: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-certificate-'));
  ({ certPath, keyPath } = await createCertificates({
    outDir: folder,
    hosts: ['reg.example.com'],
    ips: ['::1'],
    days: 100,
    now,
  }));
});
after(() => rmSync(folder, { recursive: true, force: true }));

type Files = Partial<Parameters<typeof loadServerCertificate>[0]>;
const load = (files: Files = {}) => loadServerCertificate({ certPath, keyPath, now, ...files });
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
const file = (name: string, content?: string) => {
  const path = join(folder, name);
  if (content !== undefined) writeFileSync(path, content, { mode: 0o600 });
  return path;
};
const refused = (files: Files, reason: RegExp) =>
  assert.rejects(load(files), (error) => {
    assert.ok(error instanceof OperatorError, String(error));
    assert.match(error.message, reason);
    return true;
  });

describe('loadServerCertificate accepts', () => {
  it('what cert create made', async () => {
    const loaded = await load();
    assert.deepEqual(loaded.names, ['reg.example.com', '::1']);
    assert.equal(loaded.cert, readFileSync(certPath, 'utf8'));
    assert.equal(loaded.key, readFileSync(keyPath, 'utf8'));
    assert.equal(Math.round((loaded.notAfter.getTime() - now.getTime()) / dayMs), 100);
    assert.deepEqual(loaded.warnings, []);
  });

  it('a PKCS#1 key, Windows line ends and text before the certificate', async () => {
    const pkcs1 = file('pkcs1.key');
    openssl('rsa', '-in', keyPath, '-traditional', '-out', pkcs1);
    assert.match(readFileSync(pkcs1, 'utf8'), /BEGIN RSA PRIVATE KEY/);
    const cert = `Bag Attributes: Käse\n${readFileSync(certPath, 'utf8')}`.replaceAll('\n', '\r\n');
    await load({ keyPath: pkcs1, certPath: file('crlf.crt', cert) });
  });

  it('EC keys, PKCS#8 or SEC1 with its parameters before it', async () => {
    const sec1 = file('sec1.key');
    const pkcs8 = file('ec.key');
    const cert = file('ec.crt');
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', sec1);
    openssl('pkey', '-in', sec1, '-out', pkcs8);
    chmodSync(pkcs8, 0o600);
    openssl(
      ...[
        'req',
        '-x509',
        '-key',
        pkcs8,
        '-subj',
        '/CN=a',
        '-days',
        '90',
        '-addext',
        'subjectAltName=DNS:a.example',
      ],
      ...['-out', cert],
    );
    assert.match(readFileSync(sec1, 'utf8'), /BEGIN EC PARAMETERS[^]*BEGIN EC PRIVATE KEY/);
    assert.deepEqual((await load({ certPath: cert, keyPath: sec1, now: inDays(1) })).names, ['a.example']);
    assert.deepEqual((await load({ certPath: cert, keyPath: pkcs8, now: inDays(1) })).names, ['a.example']);
  });
});

describe('loadServerCertificate refuses', () => {
  it('missing files, saying how to make them', async () => {
    await refused({ certPath: file('no.crt') }, /no\.crt does not exist: run "tidegate cert create --host/);
    await refused({ keyPath: file('no.key') }, /no\.key does not exist: run "tidegate cert create --host/);
    await assert.rejects(loadClientCa(file('no.ca')), /no\.ca does not exist: .*tls\.clientCa/);
  });

  it('a file that can not be read', () => refused({ certPath: folder }, /can't be read \(EISDIR\)/));

  it('what is not PEM, or damaged', async () => {
    await refused({ certPath: file('text.crt', 'hello') }, /text\.crt holds no certificate in PEM form/);
    await refused({ keyPath: file('text.key', 'hello') }, /text\.key holds no private key in PEM form/);
    await assert.rejects(loadClientCa(file('text.ca', '')), /text\.ca holds no certificate/);
    const cert = readFileSync(certPath, 'utf8').replace('MII', 'AAA');
    await refused({ certPath: file('bad.crt', cert) }, /bad\.crt: the certificate on line 1 is damaged/);
    const key = readFileSync(keyPath, 'utf8').replace('MII', 'AAA');
    await refused({ keyPath: file('bad.key', key) }, /bad\.key: the private key is damaged/);
  });

  it('a key with a password, saying how to strip it; and that way works', async () => {
    const pkcs8 = file('encrypted.key');
    openssl('pkey', '-in', keyPath, '-aes256', '-passout', 'pass:secret', '-out', pkcs8);
    await refused(
      { keyPath: pkcs8 },
      /encrypted\.key is encrypted with a password.*openssl pkey -in .*encrypted/,
    );
    const pkcs1 = file('encrypted1.key');
    openssl('rsa', '-in', keyPath, '-traditional', '-aes256', '-passout', 'pass:secret', '-out', pkcs1);
    await refused({ keyPath: pkcs1 }, /encrypted1\.key is encrypted with a password/);
    const message = String(await load({ keyPath: pkcs8 }).catch((error: unknown) => error));
    const command = /\(umask 077; openssl pkey -in (\S+) -out (\S+)\)/.exec(message);
    const [, from = '', to = ''] = command ?? assert.fail(message);
    openssl('pkey', '-in', from, '-out', to, '-passin', 'pass:secret');
    await load({ keyPath: to });
  });

  it('a pair that does not match, be it the key of another or that of the CA', async () => {
    const other = file('other.key');
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', other);
    await refused({ keyPath: other }, /other\.key is not the key of the certificate in .*server\.crt/);
    await refused({ keyPath: join(folder, 'ca.key') }, /ca\.key is not the key of the certificate/);
  });

  it('a leaf that is not the first', async () => {
    const [leaf = '', ca = ''] = readFileSync(certPath, 'utf8').split(/(?<=END CERTIFICATE-----\n)/);
    await refused({ certPath: file('turned.crt', ca + leaf) }, /must be the first, but it is number 2 of 2/);
  });

  it('a leaf without a SAN', async () => {
    const args = ['req', '-x509', '-nodes', '-newkey', 'rsa:2048', '-subj', '/CN=reg.example.com'];
    const paths = { certPath: file('nosan.crt'), keyPath: file('nosan.key') };
    openssl(...args, '-out', paths.certPath, '-keyout', paths.keyPath);
    await refused(paths, /nosan\.crt names no host in a subjectAltName/);
  });

  it('an expired leaf, and one that is not valid yet', async () => {
    await refused({ now: inDays(101) }, /server\.crt has expired on .*: renew it/);
    await refused({ now: inDays(-1) }, /server\.crt is not valid before .*clock/);
  });

  it('a key that is too short for TLS', async () => {
    const args = ['req', '-x509', '-nodes', '-newkey', 'rsa:512', '-subj', '/CN=a'];
    const paths = { certPath: file('short.crt'), keyPath: file('short.key') };
    openssl(...args, '-addext', 'subjectAltName=DNS:a', '-out', paths.certPath, '-keyout', paths.keyPath);
    await refused({ ...paths, now: inDays(1) }, /short\.crt can't be used for TLS \(.*key too small/);
  });
});

describe('loadServerCertificate warns', () => {
  it('when fewer than 30 days are left', async () => {
    assert.deepEqual((await load({ now: inDays(69) })).warnings, []);
    assert.match(
      (await load({ now: inDays(71) })).warnings.join(),
      /server\.crt expires in 28 days, on .*renew/,
    );
  });

  it('when the key can be read by others', async () => {
    const open = file('open.key', readFileSync(keyPath, 'utf8'));
    chmodSync(open, 0o644);
    assert.match(
      (await load({ keyPath: open })).warnings.join(),
      /open\.key can be read by other users.*chmod 600/,
    );
  });
});
