import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openMachine, unlessMachine, type Machine } from '../../support/machine.ts';
import { root } from '../../support/processes.ts';
import { makeRelease, unpackRelease } from '../../support/releases.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const programs = ['docker-registry', 'redis-server', 'curl', 'tar', 'ip', 'unshare', 'nsenter', 'setpriv'];
const skip = unlessInstalled(...programs) || unlessMachine();

/** In a row: each test goes on where the one before has left the machine, which reaches no CA. */
describe('deploy/install.sh --acme', { skip }, () => {
  let dir: string;
  let installer: string;
  let machine: Machine;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-install-'));
    await unpackRelease(await makeRelease(root, `${dir}/out`), `${dir}/release`);
    installer = `${dir}/release/deploy/install.sh`;
    machine = await openMachine();
  });
  after(async () => {
    await machine.close();
    await rm(dir, { recursive: true });
  });
  const install = (...args: string[]) => machine.run('sh', [installer, '--no-packages', ...args]);
  const must = async (script: string) => {
    const { code, stdout, stderr } = await machine.run('sh', ['-ec', script]);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  it('refuses names that no CA vouches for', async () => {
    for (const args of [
      [],
      ['--host', 'registry'],
      ['--host', '*.example.com'],
      ['--host', 'a.example.com', '--ip', '192.0.2.1'],
    ]) {
      const { code, stderr } = await install('--acme', ...args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /--acme/);
    }
    const { code, stderr } = await install('--email', 'ops@example.com');
    assert.equal(code, 2);
    assert.match(stderr, /--email goes with --acme/);
  });

  it('sets the service up to order its certificate, with plain HTTP leading to https', async () => {
    const args = [
      '--acme',
      '--host',
      'registry.example.com,mirror.example.com',
      '--email',
      'ops@example.com',
    ];
    const { code, stdout, stderr } = await install(...args);
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    assert.match(stdout, /ordered by Tidegate for registry\.example\.com,mirror\.example\.com/);
    assert.match(stdout, /docker login registry\.example\.com\n$/);
    const shown = await must('tidegate config show');
    assert.match(shown, /hosts: \[ registry\.example\.com, mirror\.example\.com \]/);
    assert.match(shown, /email: ops@example\.com/);
    assert.match(shown, /httpPort: 80/);
    const heads = await must(
      "curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: registry.example.com' http://127.0.0.1/v2/",
    );
    assert.equal(heads, '301 https://registry.example.com/v2/');
    // It answers, self-signed; the folder is the service's alone.
    await must('curl -sk -o /dev/null https://127.0.0.1/v2/');
    assert.equal(await must("stat -L -c '%a %U' /etc/tidegate/var/state/acme"), '700 tidegate\n');
    assert.match(await must('tidegate cert show'), /last try .*The CA cannot be asked/);
    assert.equal(await must('ls /etc/tidegate/certs 2>/dev/null || true'), '');
  });

  it('run again without --acme, it stays so', async () => {
    const before = await must('cat /etc/tidegate/config/tidegate.yml');
    const { code, stdout, stderr } = await install();
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    assert.match(stdout, /ordered by Tidegate for registry\.example\.com/);
    assert.equal(await must('cat /etc/tidegate/config/tidegate.yml'), before);
    assert.equal(await must('ls /etc/tidegate/certs 2>/dev/null || true'), '');
  });
});
