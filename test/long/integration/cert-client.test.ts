import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCertificate } from '../../support/certificate-files.ts';
import { tidegate } from '../../support/processes.ts';

describe('tidegate cert client', () => {
  let folder: string;
  let shown: string;
  const cert = (...args: string[]) => tidegate(['cert', ...args], { cwd: folder });
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tidegate-cert-client-'));
    await copyCertificate(path.join(folder, 'certs'), ['reg.example.com', 'localhost']);
    const { code, stdout, stderr } = await cert('client', 'alice,bob');
    assert.deepEqual([code, stderr], [0, '']);
    shown = stdout;
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('says what was made, and what to write into the configuration', () => {
    assert.match(shown, /^Made a CA for client certificates, valid to 20/);
    assert.match(
      shown,
      /^Made the certificate of alice\.\n {2}valid to {4}20.*\n {2}files .*alice\.crt, .*alice\.key$/m,
    );
    assert.match(shown, /^Made the certificate of bob\.$/m);
    assert.ok(shown.includes(`tls.clientCa: ${folder}/certs/client-ca.crt\n`));
    assert.ok(shown.endsWith('The same for bob, each with its own two files.\n'));
  });

  it("shows the steps for each client under the server's first name", () => {
    for (const root of ['/etc/docker/certs.d', '/etc/containers/certs.d', '/etc/containerd/certs.d']) {
      const place = `${root}/reg.example.com`;
      assert.ok(shown.includes(`install -D -m 644 ${folder}/certs/alice.crt ${place}/client.cert\n`), root);
      assert.ok(shown.includes(`install -m 600 ${folder}/certs/alice.key ${place}/client.key\n`), root);
    }
    assert.match(shown, /client = \[\["\/etc\/containerd\/certs\.d\/reg\.example\.com\/client\.cert", /);
    assert.ok(shown.includes(`curl --cacert ${folder}/certs/ca.crt --cert ${folder}/certs/alice.crt `));
  });

  it('the commands for Docker put the two files where it looks, the key for its owner only', async () => {
    const root = path.join(folder, 'root');
    const commands = shown
      .split('\n')
      .filter((line) => line.includes('/etc/docker/certs.d/'))
      .map((line) => line.replace('sudo ', '').replace(' /etc/', ` ${root}/etc/`));
    assert.equal(commands.length, 2);
    execFileSync('sh', ['-ec', commands.join('\n')]);
    const place = path.join(root, 'etc/docker/certs.d/reg.example.com');
    assert.deepEqual((await readdir(place)).sort(), ['client.cert', 'client.key']);
    for (const [name, from] of [
      ['client.cert', 'alice.crt'],
      ['client.key', 'alice.key'],
    ] as const) {
      const [put, made] = [path.join(place, name), path.join(folder, 'certs', from)];
      assert.equal(await readFile(put, 'utf8'), await readFile(made, 'utf8'));
    }
  });

  it('names another host and port when asked to, and a gap when there is nothing to take it from', async () => {
    const other = await cert('client', 'carol', '--host', 'registry', '--port', '8443');
    assert.ok(other.stdout.includes(' /etc/docker/certs.d/registry:8443/client.cert\n'), other.stdout);
    const { stdout } = await cert('client', 'carol', '--out', 'elsewhere');
    assert.ok(stdout.includes(' /etc/docker/certs.d/REGISTRY/client.cert\n'), stdout);
    assert.match(stdout, /--host NAME fills it in/);
    assert.ok(!stdout.includes('--cacert'));
  });

  it('renews, and cert show tells when each ends', async () => {
    const { stdout } = await cert('client', 'alice', '--days', '7');
    assert.match(stdout, /^Renewed the certificate of alice, with the same key\.$/m);
    const show = await cert('show');
    assert.equal(show.code, 0, show.stderr);
    assert.match(show.stdout, /certs\/alice\.crt\n {2}subject +CN=alice\n[^]*?\(6 days left\)/);
    assert.match(show.stdout, /certs\/bob\.crt\n[^]*?\(36\d days left\)/);
    assert.match(show.stdout, /certs\/client-ca\.crt\n/);
  });

  const wrong: [string, string[], RegExp][] = [
    ['no name', [], /names/],
    ['a path', ['../alice'], /can't name a client/],
    ['an empty one among others', ['alice,,bob'], /can't name a client/],
    ["the server's files", ['server'], /a file of another kind/],
    ['no days', ['alice', '--days', '0'], /1 to 3650/],
    ['a wildcard as host', ['alice', '--host', '*.example.com'], /not a wildcard/],
  ];
  for (const [name, args, reason] of wrong) {
    it(`exits with 2 on wrong usage: ${name}`, async () => {
      const { code, stderr } = await cert('client', ...args, '--out', 'none');
      assert.match(stderr, reason);
      assert.equal(code, 2);
      assert.ok(!(await readdir(folder)).includes('none'));
    });
  }

  it('exits with 1 and one sentence when it must not overwrite', async () => {
    await copyCertificate(path.join(folder, 'mine'), ['localhost']);
    await cert('client', 'alice', '--out', 'mine');
    await rm(path.join(folder, 'mine/client-ca.key'));
    const { code, stdout, stderr } = await cert('client', 'alice', '--out', 'mine');
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^[^\n]*client-ca\.crt is there without [^\n]*client-ca\.key[^\n]*--out\.\n$/);
  });
});
