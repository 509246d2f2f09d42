import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCertificate } from '../support/certificate-files.ts';
import { readStepCommands } from '../support/mirror-steps.ts';
import { run, tidegate } from '../support/processes.ts';

const config = `listen: { port: 8443 }
routes:
  - name: hub
    repositories: ["hub/**"]
    stripPrefix: hub
    namespaces: [docker.io]
    hosts: [hub.example.com]
    readOnly: true
    upstream: { url: "http://127.0.0.1:5001" }
  - { name: other, repositories: ["other/**"], upstream: { url: "http://127.0.0.1:5002" } }
`;

describe('tidegate mirror steps', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mirror-steps-'));
    await copyCertificate(path.join(dir, 'certs'), ['hub.example.com', 'reg.example.com']);
    await writeFile(path.join(dir, 'tidegate.yml'), config);
  });
  after(() => rm(dir, { recursive: true }));

  const steps = (...args: string[]) => tidegate(['mirror', 'steps', ...args], { cwd: dir });

  it('takes routes, port and host from the configuration and its certificate', async () => {
    const { code, stdout, stderr } = await steps('--config', 'tidegate.yml');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /docker pull reg\.example\.com:8443\/hub\/library\/nginx/);
    assert.doesNotMatch(stdout, /\/other/);
  });

  it('prints commands that write the files of each client', async () => {
    const { stdout } = await steps('--config', 'tidegate.yml', '--mirror', 'ghcr.io');
    const done = await run('sh', ['-ec', readStepCommands(stdout, `${dir}/etc`)]);
    assert.deepEqual([done.code, done.stderr], [0, '']);
    const read = (file: string) => readFile(path.join(dir, 'etc', file), 'utf8');
    assert.match(await read('containerd/certs.d/ghcr.io/hosts.toml'), /^server = "https:\/\/ghcr\.io"$/m);
    assert.match(
      await read('containers/registries.conf.d/50-tidegate-docker-io.conf'),
      /^location = "reg\.example\.com:8443\/hub"$/m,
    );
    const ca = await readFile(path.join(dir, 'certs/ca.crt'), 'utf8');
    for (const file of [
      'containerd/certs.d/docker.io/tidegate.crt',
      'containers/certs.d/reg.example.com:8443/ca.crt',
      'docker/certs.d/hub.example.com:8443/ca.crt',
    ])
      assert.equal(await read(file), ca, file);
  });

  it('takes the host and the port that are given, and mirrors of npm start', async () => {
    const { code, stdout } = await steps('--mirror', 'docker.io', '--host', 'a.test', '--port', '443');
    assert.equal(code, 0);
    assert.match(stdout, /docker pull a\.test\/hub\/library\/nginx/);
  });

  it('takes the first host of tls.acme, whose CA clients know', async () => {
    const { code, stdout } = await steps('--mirror', 'docker.io', '--set', 'tls.acme.hosts=b.test,c.test');
    assert.equal(code, 0);
    assert.match(stdout, /docker pull b\.test\/hub\/library\/nginx/);
    assert.doesNotMatch(stdout, /\.crt/);
  });

  it('says in one sentence that nothing is mirrored, and refuses a source that is none', async () => {
    const none = await steps('--config', '/dev/null');
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^No route of the configuration mirrors a registry: [^\n]+\n$/);
    const wrong = await steps('--mirror', 'https://docker.io');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /no registry to mirror/);
  });
});
