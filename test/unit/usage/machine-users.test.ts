import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createFamilyReader } from '../../../src/usage/client-family.ts';
import { findMachineUsers } from '../../../src/usage/machine-users.ts';
import type { UserDay } from '../../../src/usage/usage-file.ts';

const asOf = Date.parse('2026-11-29T12:00:00Z');
const dayMs = 24 * 60 * 60 * 1000;
const day = (ago: number) => new Date(asOf - ago * dayMs).toISOString().slice(0, 10);
const days = (count: number, family: string, logins = 1, addresses = 1): UserDay[] =>
  Array.from({ length: count }, (_, ago) => ({ user: 'u', day: day(ago), family, logins, addresses }));
const find = (rows: readonly UserDay[], recordDays = 40) =>
  findMachineUsers(rows, { asOf, since: asOf - recordDays * dayMs });

describe('users that only machines use', () => {
  for (const [what, rows, evidence] of [
    [
      'only a cluster',
      [...days(5, 'containerd'), ...days(4, 'cri-o')],
      'only containerd, cri-o used it, on 5 days',
    ],
    ['a cluster, and somebody with docker', [...days(5, 'containerd'), ...days(1, 'docker')], null],
    ['a cluster, tried once', days(2, 'containerd'), null],
    ['builds on a laptop', days(20, 'buildkit'), null],
    ['somebody with docker', days(20, 'docker', 6, 2), null],
    ['an eager person', days(20, 'docker', 150, 2), null],
    [
      'jobs from many addresses',
      days(20, 'docker', 80, 30),
      'on 20 of 20 days it logged in 80 times or more, from 30 addresses or more',
    ],
    [
      'jobs behind one address',
      days(6, 'docker', 400, 1),
      'on 6 of 6 days it logged in 400 times or more, from 1 address or more',
    ],
    ['a busy week among quiet ones', [...days(5, 'docker', 300, 9), ...days(25, 'docker').slice(5)], null],
    ['a busy day', days(1, 'docker', 1000, 40), null],
  ] as const)
    test(what, () => {
      assert.deepEqual(find(rows), evidence === null ? [] : [{ user: 'u', evidence }]);
    });

  test('a young record tells nothing, and an old day neither', () => {
    assert.equal(find(days(6, 'kaniko'), 6.9), null);
    const old = days(60, 'kaniko').slice(40);
    assert.deepEqual(find(old), []);
  });
});

describe('families of clients', () => {
  const read = createFamilyReader();
  for (const [agent, family] of [
    [
      'docker/28.2.2 go/go1.24.3 git-commit/45873be kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))',
      'docker',
    ],
    ['Docker-Client/24.0.7 (linux)', 'docker'],
    ['containers/5.23.1 (github.com/containers/image)', 'podman'],
    ['Buildah/1.28.2', 'podman'],
    ['skopeo/1.9.3', 'skopeo'],
    ['containerd/1.7.27', 'containerd'],
    ['cri-o/1.24.1 go/go1.17.10 os/linux arch/amd64', 'cri-o'],
    ['kaniko/v1.23.2 go-containerregistry/v0.20', 'kaniko'],
    ['trivy/0.57.0 (linux) go-containerregistry/v0.20', 'trivy'],
    ['flux/v2.3.0 go-containerregistry/v0.19.1', 'flux'],
    ['argocd-image-updater/v0.15', 'argo'],
    ['buildkit/v0.12.3', 'buildkit'],
    ['jib 3.4.0 jib-maven-plugin', 'jib'],
    ['crane/0.19.1 go-containerregistry/0.19.1', 'crane'],
    ['Go-http-client/1.1', 'other'],
    ['Mozilla/5.0 (X11; Linux x86_64)', 'browser'],
    ['not-docker/1.0', 'other'],
    ['', 'other'],
    ['x'.repeat(10_000), 'other'],
  ] as const)
    test(`${agent.slice(0, 40)}: ${family}`, () => {
      assert.deepEqual([read(agent), read(agent)], [family, family]);
    });
});
