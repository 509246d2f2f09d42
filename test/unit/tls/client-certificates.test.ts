import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OperatorError } from '../../../src/system/operator-error.ts';
import { createClientCertificates, parseClientName } from '../../../src/tls/issue/client-certificates.ts';

const now = new Date('2030-06-01T12:00:00.400Z');
const dayMs = 86_400_000;

let folder: string;
let made: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-client-certificates-'));
  made = join(folder, 'made');
  await createClientCertificates({ outDir: made, names: ['alice', 'ci-7@example.com', 'alice'], now });
});
after(() => rmSync(folder, { recursive: true, force: true }));

const copy = () => {
  const target = mkdtempSync(join(folder, 'copy-'));
  cpSync(made, target, { recursive: true });
  return target;
};
const contents = (dir: string) =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]));
const certificate = (dir: string, name: string) => new X509Certificate(readFileSync(join(dir, name)));
const verify = (dir: string, name: string, purpose: string) =>
  spawnSync(
    'openssl',
    [
      ...['verify', '-x509_strict', '-purpose', purpose, '-attime', String((now.getTime() / 1000) | 0)],
      ...['-CAfile', join(dir, 'client-ca.crt'), join(dir, name)],
    ],
    { encoding: 'utf8' },
  );

async function refusal(outDir: string, names: string[], at = now): Promise<string> {
  const earlier = contents(outDir);
  const error: unknown = await createClientCertificates({ outDir, names, now: at }).then(
    () => assert.fail('was not refused'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof OperatorError, String(error));
  assert.deepEqual(contents(outDir), earlier, 'a refusal changes no file and leaves none behind');
  return error.message;
}

describe('a first run', () => {
  it('makes a CA and a pair a name, the keys for their owner only', () => {
    assert.deepEqual(readdirSync(made).sort(), [
      ...['alice.crt', 'alice.key', 'ci-7@example.com.crt', 'ci-7@example.com.key'],
      ...['client-ca.crt', 'client-ca.key'],
    ]);
    for (const name of readdirSync(made)) {
      assert.equal(statSync(join(made, name)).mode & 0o777, name.endsWith('.key') ? 0o600 : 0o644, name);
    }
  });

  it('OpenSSL takes them for clients, strictly, and not for servers', () => {
    for (const name of ['alice.crt', 'ci-7@example.com.crt']) {
      const asClient = verify(made, name, 'sslclient');
      assert.match(asClient.stdout, /: OK/, asClient.stderr);
      const asServer = verify(made, name, 'sslserver');
      assert.match(asServer.stderr, /unsuitable certificate purpose|unsupported certificate purpose/);
    }
  });

  it('the name is the common name, and the lifetime a year to the second', () => {
    const alice = certificate(made, 'alice.crt');
    assert.equal(alice.subject, 'CN=alice');
    const lifetimeMs = new Date(alice.validTo).getTime() - new Date(alice.validFrom).getTime();
    assert.equal(lifetimeMs, 365 * dayMs - 1000);
    assert.ok(alice.checkPrivateKey(certificateKey(made, 'alice')));
    assert.deepEqual(alice.keyUsage, ['1.3.6.1.5.5.7.3.2']);
  });

  it('the CA vouches for clients only, and says so in its name', () => {
    const text = execFileSync('openssl', ['x509', '-in', join(made, 'client-ca.crt'), '-noout', '-text'], {
      encoding: 'utf8',
    });
    assert.match(text, /Subject: O = Tidegate, CN = Tidegate client CA [0-9a-f]{8}/);
    assert.match(text, /CA:TRUE, pathlen:0/);
    assert.match(text, /Extended Key Usage:\s+TLS Web Client Authentication\n/);
  });
});

describe('a further run', () => {
  it('renews with the same key and CA, and leaves others alone', async () => {
    const dir = copy();
    const earlier = contents(dir);
    const later = new Date(now.getTime() + 300 * dayMs);
    const { madeCa, clients } = await createClientCertificates({ outDir: dir, names: ['alice'], now: later });
    assert.equal(madeCa, false);
    assert.equal(clients[0]?.keptKey, true);
    const { 'alice.crt': renewed, ...others } = contents(dir);
    const { 'alice.crt': old, ...othersBefore } = earlier;
    assert.notEqual(renewed, old);
    assert.deepEqual(others, othersBefore);
    assert.ok(new Date(certificate(dir, 'alice.crt').validTo).getTime() > later.getTime() + 360 * dayMs);
  });

  it('makes a new key where the old one has been taken to its client', async () => {
    const dir = copy();
    const old = contents(dir);
    rmSync(join(dir, 'alice.key'));
    const { clients } = await createClientCertificates({ outDir: dir, names: ['alice'], now });
    assert.equal(clients[0]?.keptKey, false);
    assert.notEqual(contents(dir)['alice.key'], old['alice.key']);
    assert.ok(certificate(dir, 'alice.crt').checkPrivateKey(certificateKey(dir, 'alice')));
  });

  it('is cut to the end of the CA', async () => {
    const dir = copy();
    const [client] = (
      await createClientCertificates({
        outDir: dir,
        names: ['late'],
        days: 3650,
        now: new Date('2035-01-01'),
      })
    ).clients;
    assert.equal(
      client?.notAfter.toISOString(),
      new Date(certificate(dir, 'client-ca.crt').validTo).toISOString(),
    );
  });

  it('refuses what it did not make', async () => {
    const other = copy();
    const stranger = mkdtempSync(join(folder, 'stranger-'));
    await createClientCertificates({ outDir: stranger, names: ['bob'], now });
    for (const name of ['bob.crt', 'bob.key']) cpSync(join(stranger, name), join(other, name));
    assert.match(await refusal(other, ['carol', 'bob']), /bob\.crt was not issued by the CA of client/);

    const swapped = copy();
    cpSync(join(stranger, 'bob.key'), join(swapped, 'alice.key'));
    assert.match(await refusal(swapped, ['alice']), /alice\.key is not the RSA key of .*alice\.crt/);

    const keyOnly = copy();
    rmSync(join(keyOnly, 'alice.crt'));
    assert.match(await refusal(keyOnly, ['alice']), /alice\.key is there without .*alice\.crt/);

    const linked = copy();
    renameSync(join(linked, 'alice.key'), join(folder, 'elsewhere.key'));
    symlinkSync(join(folder, 'elsewhere.key'), join(linked, 'alice.key'));
    assert.match(await refusal(linked, ['alice']), /alice\.key is a symbolic link/);
  });

  it('never overwrites a CA', async () => {
    const half = copy();
    rmSync(join(half, 'client-ca.key'));
    assert.match(await refusal(half, ['dave']), /client-ca\.crt is there without .*client-ca\.key/);
    assert.match(
      await refusal(copy(), ['dave'], new Date('2041-01-01')),
      /has expired .* move .*client-ca\.crt and .*client-ca\.key away, .* every client a new certificate\.$/,
    );
  });
});

function certificateKey(dir: string, name: string) {
  return createPrivateKey(readFileSync(join(dir, `${name}.key`)));
}

describe('parseClientName', () => {
  for (const name of ['alice', 'A', 'ci-runner-7', 'bob@example.com', 'a..b', '0', 'x'.repeat(64)]) {
    it(`takes ${name}`, () => assert.equal(parseClientName(name), name));
  }
  const refused = [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    '-x',
    '.x',
    'a b',
    'é',
    'a\n',
    'x'.repeat(65),
    '@a',
    'a,b',
    'a\0',
  ];
  for (const name of [...refused, 'ca', 'server', 'client-ca', 'CA', 'Server']) {
    it(`refuses ${JSON.stringify(name)}`, () => assert.throws(() => parseClientName(name), OperatorError));
  }
});
