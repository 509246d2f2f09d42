import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseMirrorSource } from '../../../src/cli/mirror/mirror-source.ts';
import { formatMirrorSteps } from '../../../src/cli/mirror/mirror-steps.ts';

describe('parseMirrorSource', () => {
  const cases: [text: string, route: string, url: string][] = [
    ['docker.io', 'hub', 'https://registry-1.docker.io'],
    ['quay.io', 'quay', 'https://quay.io'],
    ['ghcr.io', 'ghcr', 'https://ghcr.io'],
    ['registry.k8s.io', 'k8s', 'https://registry.k8s.io'],
    ['mcr.microsoft.com', 'mcr', 'https://mcr.microsoft.com'],
    ['localhost:5001', 'localhost', 'https://localhost:5001'],
    ['docker.io=http://10.0.0.7:5000', 'hub', 'http://10.0.0.7:5000'],
  ];
  for (const [text, route, url] of cases) {
    it(text, () => {
      assert.deepEqual(parseMirrorSource(text), { namespace: text.replace(/=.*/, ''), route, url });
    });
  }

  for (const text of [
    '',
    'https://docker.io',
    'Docker.io',
    'docker.io/library',
    '-a',
    'a b',
    'a=',
    'a=b=c',
    'a=ftp://b',
    'a=http://b/c',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseMirrorSource(text), { name: 'OperatorError' });
    });
});

describe('formatMirrorSteps', () => {
  const hub = { stripPrefix: 'hub', namespaces: ['docker.io'], hosts: ['hub.example.com'] };
  const steps = (changes: Partial<Parameters<typeof formatMirrorSteps>[0]> = {}) =>
    formatMirrorSteps({
      routes: [hub],
      host: 'reg.example.com',
      port: 443,
      caPath: '/srv/ca.crt',
      ...changes,
    });

  it('names the mirror as each client does', () => {
    const text = steps();
    for (const part of [
      'docker pull reg.example.com/hub/library/nginx\n',
      'sudo tee /etc/containerd/certs.d/docker.io/hosts.toml ',
      '[host."https://reg.example.com"]\n  capabilities = ["pull", "resolve"]\n',
      '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n',
      '[[registry.mirror]]\nlocation = "reg.example.com/hub"\n',
      '{ "registry-mirrors": ["https://hub.example.com"] }\n',
    ])
      assert.ok(text.includes(part), part);
  });

  it('has the port everywhere, when it is not 443', () => {
    const text = steps({ port: 8443 });
    assert.ok(text.includes('location = "reg.example.com:8443/hub"\n'));
    assert.ok(text.includes(' /etc/docker/certs.d/hub.example.com:8443/ca.crt\n'));
    assert.doesNotMatch(text, /example\.com(?!:8443)/);
  });

  it('leaves the CA out when clients trust the certificate anyway', () => {
    assert.doesNotMatch(steps({ caPath: null }), /\bca\b|ca\.crt|CA/);
  });

  it('gives a Docker Engine a mirror only by a host of its own, and only of Docker Hub', () => {
    const other = { stripPrefix: 'quay', namespaces: ['quay.io'], hosts: ['quay.example.com'] };
    assert.doesNotMatch(steps({ routes: [other] }), /registry-mirrors|Docker Engine:/);
    assert.match(steps({ routes: [{ ...hub, hosts: [] }] }), /needs a host name of its own/);
  });

  it('has no prefix where the route takes none off', () => {
    assert.match(steps({ routes: [{ ...hub, stripPrefix: null }] }), /location = "reg\.example\.com"\n/);
  });
});
