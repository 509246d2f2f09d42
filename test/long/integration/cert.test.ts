import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadServerCertificate } from '../../../src/tls/certificate.ts';

const program = fileURLToPath(new URL('../../../../dist/main.js', import.meta.url));

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-cert-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function cert(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, 'cert', ...args], { encoding: 'utf8', cwd: folder });
}

function succeed(...args: string[]): string {
  const { status, stdout, stderr } = cert(...args);
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout;
}

describe('tidegate cert', () => {
  before(() => succeed('create', '--host', 'localhost,reg.example.com', '--ip', '127.0.0.1,::1'));

  it('create writes into certs/, the keys for their owner only', () => {
    for (const [name, mode] of [
      ['ca.key', 0o600],
      ['server.key', 0o600],
    ] as const) {
      assert.equal(statSync(join(folder, 'certs', name)).mode & 0o777, mode);
    }
    assert.match(readFileSync(join(folder, 'certs/ca.crt'), 'utf8'), /BEGIN CERTIFICATE/);
  });

  it('create again keeps names, CA and key', () => {
    const read = (name: string) => readFileSync(join(folder, 'certs', name), 'utf8');
    const earlier = ['ca.crt', 'ca.key', 'server.key'].map(read);
    const leaf = read('server.crt');
    assert.match(
      succeed('create'),
      /Renewed .*same key[^]*names +localhost, reg\.example\.com, 127\.0\.0\.1, ::1/,
    );
    assert.deepEqual(['ca.crt', 'ca.key', 'server.key'].map(read), earlier);
    assert.notEqual(read('server.crt'), leaf);
  });

  it('create honours --days and repeated --host', () => {
    const stdout = succeed(
      'create',
      '--out',
      'short',
      '--host',
      'a.example',
      '--host',
      'b.example',
      '--days',
      '7',
    );
    assert.match(stdout, /names +a\.example, b\.example/);
    assert.match(succeed('show', '--out', 'short'), /\(6 days left\)/);
  });

  it('show prints names, lifetime, key, and the fingerprint that openssl computes', () => {
    const stdout = succeed('show');
    for (const name of ['ca.crt', 'server.crt']) {
      const path = join(folder, 'certs', name);
      const { stdout: line } = spawnSync(
        'openssl',
        ['x509', '-in', path, '-noout', '-fingerprint', '-sha256'],
        {
          encoding: 'utf8',
        },
      );
      assert.ok(stdout.includes(line.trim().split('=')[1] ?? assert.fail(line)));
    }
    assert.match(stdout, /names +localhost, reg\.example\.com, 127\.0\.0\.1, ::1/);
    assert.match(stdout, /key +RSA, 3072 bits[^]*key +RSA, 2048 bits/);
    assert.match(stdout, /\(824 days left\)/);
  });

  it('show shows the certificate of an operator too', () => {
    const own = join(folder, 'own');
    mkdirSync(own);
    const paths = ['-keyout', join(own, 'server.key'), '-out', join(own, 'server.crt')];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    spawnSync('openssl', ['req', '-x509', '-nodes', ...curve, '-subj', '/O=Own/CN=own', ...paths]);
    assert.match(succeed('show', '--out', 'own'), /subject +O=Own, CN=own[^]*key +EC, prime256v1/);
  });

  it('trust writes the steps for the real names, path and port', () => {
    const stdout = succeed('trust', '--port', '8443');
    assert.ok(
      stdout.includes(`${folder}/certs/ca.crt /etc/docker/certs.d/reg.example.com:8443/ca.crt\n`),
      stdout,
    );
    const one = succeed('trust', '--host', 'reg.example.com');
    assert.ok(one.includes(' /etc/containers/certs.d/reg.example.com/ca.crt\n'), one);
    assert.ok(!one.includes('localhost'));
  });

  it('trust refuses a name that the certificate does not carry, and a wildcard alone', () => {
    const other = cert('trust', '--host', 'other.example');
    assert.equal(other.status, 1);
    assert.match(other.stderr, /not valid for other\.example/);
    succeed('create', '--out', 'wild', '--host', '*.example.com');
    assert.match(cert('trust', '--out', 'wild').stderr, /no single host: .*--host/);
    assert.match(succeed('trust', '--out', 'wild', '--host', 'a.example.com'), /certs\.d\/a\.example\.com\//);
  });

  const wrong: [string, string[], RegExp][] = [
    ['a first create without a name', ['create', '--out', 'none'], /--host NAME/],
    ['an internationalised name', ['create', '--out', 'none', '--host', 'bücher.example'], /xn--bcher-kva/],
    ['an empty name', ['create', '--out', 'none', '--host', 'a,,b'], /not a host name/],
    ['a host name as --ip', ['create', '--out', 'none', '--ip', 'localhost'], /not an IP address/],
    ['no days', ['create', '--out', 'none', '--host', 'a', '--days', '0'], /1 to 3650/],
    ['half a day', ['create', '--out', 'none', '--host', 'a', '--days', '0.5'], /1 to 3650/],
    ['a port that is none', ['trust', '--port', '70000'], /1 to 65535/],
    ['a wildcard to trust', ['trust', '--host', '*.example.com'], /not a wildcard/],
    ['an unknown option', ['show', '--nope'], /--nope/],
  ];
  for (const [name, args, reason] of wrong) {
    it(`exits with 2 on wrong usage: ${name}`, () => {
      const { status, stderr } = cert(...args);
      assert.match(stderr, reason);
      assert.equal(status, 2);
      assert.throws(() => statSync(join(folder, 'none')), /ENOENT/);
    });
  }

  it('exits with 1 and one sentence when it must not overwrite', () => {
    mkdirSync(join(folder, 'half'));
    writeFileSync(join(folder, 'half/ca.crt'), readFileSync(join(folder, 'certs/ca.crt')));
    const { status, stdout, stderr } = cert('create', '--out', 'half', '--host', 'a', '--force');
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^[^\n]*half\/ca\.crt is there without half\/ca\.key[^\n]*--out\.\n$/);
  });

  it('exits with 1 when there is nothing to show or trust', () => {
    for (const command of ['show', 'trust']) {
      const { status, stderr } = cert(command, '--out', 'none');
      assert.equal(status, 1);
      assert.match(stderr, /tidegate cert create --host/);
    }
  });

  describe('in a handshake', () => {
    let server: https.Server;
    let port: number;
    before(async () => {
      const { cert: chain, key } = await loadServerCertificate({
        certPath: join(folder, 'certs/server.crt'),
        keyPath: join(folder, 'certs/server.key'),

        now: new Date(),
      });
      server = https.createServer({ cert: chain, key }, (_request, response) => response.end('tide'));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      ({ port } = server.address() as AddressInfo);
    });
    after(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });

    it('Node trusts it for its names, and not without the CA', async () => {
      const ca = readFileSync(join(folder, 'certs/ca.crt'));
      const connect = (options: https.RequestOptions) =>
        new Promise<number | undefined>((resolve, reject) => {
          https
            .get({ host: '127.0.0.1', port, agent: false, ...options }, (response) => {
              response.resume();
              resolve(response.statusCode);
            })
            .on('error', reject);
        });
      assert.equal(await connect({ ca }), 200);
      assert.equal(await connect({ ca, servername: 'reg.example.com' }), 200);
      await assert.rejects(
        connect({ ca, servername: 'other.example' }),
        /ERR_TLS_CERT_ALTNAME_INVALID|altnames/,
      );
      await assert.rejects(connect({}), /self.signed certificate/);
    });

    it('curl trusts it for its names', async () => {
      const curl = (host: string) =>
        promisify(execFile)('curl', [
          ...['-sS', '--noproxy', '*', '--cacert', join(folder, 'certs/ca.crt')],
          ...['--connect-to', `::127.0.0.1:${port}`, `https://${host}:${port}/`],
        ]);
      for (const host of ['127.0.0.1', 'reg.example.com', '[::1]'])
        assert.equal((await curl(host)).stdout, 'tide');
      await assert.rejects(curl('other.example'), /no alternative certificate subject name/);
    });
  });
});
