import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { formatDockerTrust, formatRegistry, formatTrustSteps } from '../../../src/tls/trust.ts';

const steps = (port: number) =>
  formatTrustSteps({ caPath: '/srv/tide gate/ca.crt', hosts: ['reg.example.com', '2001:db8::1'], port });

describe('formatTrustSteps', () => {
  it('names the folder after host and port', () => {
    const text = steps(8443);
    for (const root of ['/etc/docker/certs.d', '/etc/containers/certs.d', '/etc/containerd/certs.d']) {
      assert.ok(text.includes(`'/srv/tide gate/ca.crt' ${root}/reg.example.com:8443/ca.crt\n`), root);
      assert.ok(text.includes(`'${root}/[2001:db8::1]:8443/ca.crt'\n`), root);
    }
  });

  it('leaves the port out when it is 443', () => {
    assert.ok(steps(443).includes(' /etc/docker/certs.d/reg.example.com/ca.crt\n'));
    assert.ok(!steps(443).includes(':443'));
  });

  it('keeps 443 after a name without a dot, which clients would take for one of Docker Hub', () => {
    assert.equal(formatRegistry('myhost', 443), 'myhost:443');
    assert.equal(formatRegistry('localhost', 443), 'localhost');
    assert.equal(formatRegistry('::1', 443), '[::1]');
  });

  it('gives containerd a hosts.toml that points back to the CA', () => {
    const text = steps(8443);
    assert.ok(
      text.includes('server = "https://reg.example.com:8443"\n\n[host."https://reg.example.com:8443"]\n'),
    );
    assert.ok(text.includes('ca = "/etc/containerd/certs.d/reg.example.com:8443/ca.crt"\n'));
  });

  it('covers whole systems', () => {
    for (const command of [
      'update-ca-certificates',
      'update-ca-trust',
      'security add-trusted-cert',
      'certutil -addstore',
    ]) {
      assert.ok(steps(443).includes(command), command);
    }
  });
});

describe('formatDockerTrust', () => {
  it('quotes so that a shell reads the very path', () => {
    const caPath = `/srv/it's $HOME/ca.crt`;
    const [docker = '', podman = ''] = formatDockerTrust({ caPath, host: '::1', port: 443 }).split('\n');
    for (const [line, folder] of [
      [docker, '/etc/docker/certs.d'],
      [podman, '/etc/containers/certs.d'],
    ] as const) {
      const args = line.slice(line.indexOf('644 ') + 4);
      const words = execFileSync('sh', ['-c', `printf '%s\\n' ${args}`], { encoding: 'utf8' });
      assert.deepEqual(words, `${caPath}\n${folder}/[::1]/ca.crt\n`);
    }
  });
});
