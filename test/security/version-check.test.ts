import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../support/front-door.ts';
import { chunked, head, values } from '../support/http-message.ts';
import {
  anonymous,
  authorized,
  clientHost,
  errorCode,
  exchange,
  type Response,
} from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

/** Sent by real registry clients, which learn only from a 401 that credentials are wanted. */
const registryClients: readonly [client: string, userAgent: string][] = [
  [
    'Docker Engine 20.10',
    'docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0-18-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24+dfsg1 \\(linux\\))',
  ],
  [
    'Docker Engine 28',
    'docker/28.2.2 go/go1.24.3 git-commit/45873be kernel/6.8.0-60-generic os/linux arch/amd64 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))',
  ],
  ['Docker Engine 1.12', 'docker/1.12.6 go/go1.6.4 git-commit/78d1802 kernel/4.4.0 os/linux arch/amd64'],
  ['Docker CLI without an engine', 'Docker-Client/28.2.2 (linux)'],
  ['Docker Desktop on Windows', 'Docker-Client/24.0.7 (windows)'],
  ['podman', 'libpod/4.3.1'],
  ['containers/image', 'containers/5.23.1 (github.com/containers/image)'],
  ['Buildah', 'Buildah/1.28.2'],
  ['Buildah, small', 'buildah/1.37.0'],
  ['skopeo', 'skopeo/1.9.3'],
  ['CRI-O', 'cri-o/1.29.1 go/go1.21.7 os/linux arch/amd64'],
  ['containerd 1.6', 'containerd/1.6.20~ds1'],
  ['containerd 2', 'containerd/v2.0.2'],
  ['BuildKit', 'buildkit/v0.12'],
  ['oras', 'oras/1.2.0+Homebrew'],
  ['oras-go', 'oras-go'],
  ['Helm', 'Helm/3.14.2'],
  ['regclient', 'regclient/regctl (v0.5.7)'],
  ['crane', 'crane/0.19.1 go-containerregistry/0.19.1'],
  ['go-containerregistry', 'go-containerregistry/v0.20.2'],
  ['cosign', 'cosign/v2.2.3 (linux; amd64) go-containerregistry/v0.19.0'],
  ['kaniko', 'kaniko/v1.20.1 go-containerregistry/v0.17.0'],
  ['Harbor', 'harbor-registry-client'],
  ['Renovate', 'Renovate/37.200.1 (https://github.com/renovatebot/renovate)'],
  ['Renovate before it dropped the Bot', 'RenovateBot/32.1.0 (https://github.com/renovatebot/renovate)'],
  ['Jib for Maven', 'jib 3.4.1 jib-maven-plugin Google-HTTP-Java-Client/1.42.2 (gzip)'],
  ['Jib for Gradle', 'jib 3.4.1 jib-gradle-plugin'],
  ['oc', 'oc/4.14.0 (linux/amd64) kubernetes/286cfa5'],
];

/** Sent by those who take a 401 for a broken registry. */
const others: readonly [client: string, userAgent: string | null][] = [
  ['nobody', null],
  ['an empty User-Agent', ''],
  ['curl', 'curl/7.88.1'],
  ['wget', 'Wget/1.21.3'],
  ['a Kubernetes probe', 'kube-probe/1.29'],
  ['an AWS load balancer', 'ELB-HealthChecker/2.0'],
  ['a Google load balancer', 'GoogleHC/1.0'],
  ['Prometheus', 'Prometheus/2.51.0'],
  ['the blackbox exporter', 'Blackbox Exporter/0.25.0'],
  ['HAProxy', 'HAProxy'],
  ['Go', 'Go-http-client/1.1'],
  ['Python', 'python-requests/2.31.0'],
  ['Firefox', 'Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0'],
  [
    'Chrome',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36',
  ],
  [
    'Safari',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15',
  ],
  ['one that only mentions docker', 'my-docker-monitor/1.0'],
  ['one whose URL mentions docker', 'monitor/1.0 (https://docker/status)'],
];

const challenge = ['Basic realm="Registry"'];
const withAgent = (userAgent: string | null) => (userAgent === null ? [] : [`User-Agent: ${userAgent}`]);

describe('the version check', { timeout: 60_000 }, () => {
  let upstream: ScriptedUpstream;
  const frontDoors = new Map<string, FrontDoor>();
  const at = (mode: string): FrontDoor => frontDoors.get(mode) ?? assert.fail();
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        request.answer(
          head(
            'HTTP/1.1 200 OK',
            'Content-Length: 2',
            'docker-distribution-api-version: registry/2.0',
            'Cache-Control: public',
            'Vary: Accept',
          ),
          request.startLine.startsWith('HEAD') ? '' : '{}',
        );
      },
    });
    for (const mode of ['auto', 'open', 'challenge']) {
      const set = [`auth.versionCheck=${mode}`, 'auth.challengeAgents=Acme Puller/'];
      frontDoors.set(mode, await startFrontDoor({ upstreamUrl: upstream.url, set }));
    }
  });
  after(async () => {
    for (const frontDoor of frontDoors.values()) await frontDoor.stop();
    await upstream.close();
  });

  /** What every answer to a version check carries, once. */
  const checkHeaders = (response: Response) => {
    assert.deepEqual(values(response, 'docker-distribution-api-version'), ['registry/2.0']);
    assert.deepEqual(values(response, 'cache-control'), ['no-store']);
    assert.ok(values(response, 'vary').includes('User-Agent'));
  };
  const check = async (mode: string, request: string, status: number, challenged: boolean) => {
    const response = await exchange(at(mode), request);
    assert.equal(response.status, status);
    assert.deepEqual(values(response, 'www-authenticate'), challenged ? challenge : []);
    checkHeaders(response);
    return response;
  };

  for (const [client, userAgent] of registryClients) {
    test(`${client} gets the challenge`, async () => {
      const response = await check('auto', anonymous('GET /v2/', `User-Agent: ${userAgent}`), 401, true);
      assert.equal(errorCode(response), 'UNAUTHORIZED');
      await check('open', anonymous('GET /v2/', `User-Agent: ${userAgent}`), 200, false);
    });
  }

  for (const [client, userAgent] of others) {
    test(`${client} gets upstream's 200, with the challenge as a hint`, async () => {
      const response = await check('auto', anonymous('GET /v2/', ...withAgent(userAgent)), 200, true);
      assert.equal(response.body.toString(), '{}');
      assert.deepEqual(values(response, 'vary'), ['Accept', 'User-Agent']);
      await check('challenge', anonymous('GET /v2/', ...withAgent(userAgent)), 401, true);
    });
  }

  test('HEAD is no registry client’s: 200, but 401 under challenge', async () => {
    await check('auto', anonymous('HEAD /v2/', 'User-Agent: docker/28.2.2'), 200, true);
    await check('open', anonymous('HEAD /v2/'), 200, false);
    const response = await check('challenge', anonymous('HEAD /v2/'), 401, true);
    assert.equal(response.body.length, 0);
  });

  test('further agents of the configuration, in any case', async () => {
    await check('auto', anonymous('GET /v2/', 'User-Agent: Mozilla (ACME puller/7)'), 401, true);
    await check('auto', anonymous('GET /v2/', 'User-Agent: Acme Pusher/7'), 200, true);
  });

  test('credentials are always verified: right 200, wrong 401, whoever asks', async () => {
    const wrong = `Basic ${Buffer.from(`${user}:${password}x`).toString('base64')}`;
    for (const mode of ['auto', 'challenge']) {
      for (const agent of ['docker/28.2.2', 'curl/8', 'kube-probe/1.29']) {
        for (const method of ['GET', 'HEAD']) {
          await check(mode, authorized(`${method} /v2/`, `User-Agent: ${agent}`), 200, false);
          await check(
            mode,
            anonymous(`${method} /v2/`, `User-Agent: ${agent}`, `Authorization: ${wrong}`),
            401,
            true,
          );
          await check(
            mode,
            anonymous(`${method} /v2/`, `User-Agent: ${agent}`, 'Authorization: '),
            401,
            true,
          );
          await check(
            mode,
            anonymous(`${method} /v2/`, 'Authorization: Bearer x', `User-Agent: ${agent}`),
            401,
            true,
          );
        }
      }
    }
  });

  test('other methods, and paths that only look like it, are no version check', async () => {
    for (const request of ['POST /v2/', 'OPTIONS /v2/', 'PUT /v2/', 'DELETE /v2/', 'TRACE /v2/']) {
      for (const mode of ['auto', 'open'])
        assert.equal((await exchange(at(mode), anonymous(request, 'Content-Length: 0'))).status, 401);
    }
    for (const path of ['/v2', '/v2/x', '/%762/', '/v%32/', '/V2/', '/v2/_catalog', '/v2/a/', '/'])
      assert.equal((await exchange(at('open'), anonymous(`GET ${path}`))).status, 401, path);
    assert.equal((await exchange(at('open'), anonymous('GET /v2/?x=1'))).status, 200);
  });

  test('the first of two User-Agents counts', async () => {
    await check('auto', anonymous('GET /v2/', 'User-Agent: docker/1', 'User-Agent: curl/1'), 401, true);
  });

  test('errors carry the three headers too', async () => {
    checkHeaders(
      await exchange(at('auto'), anonymous('GET /v2/', 'Transfer-Encoding: chunked') + chunked('x')),
    );
    checkHeaders(await exchange(at('auto'), head('GET /v2/ HTTP/1.1', 'Host: a/b')));
    checkHeaders(await exchange(at('auto'), anonymous('GET /v2/', 'Expect: x')));
    const dead = await startUpstream();
    await dead.close();
    const frontDoor = await startFrontDoor({ upstreamUrl: dead.url });
    const response = await exchange(frontDoor, anonymous('GET /v2/'));
    assert.equal(response.status, 502);
    checkHeaders(response);
    await frontDoor.stop();
  });

  test('what upstream is told of the client is the same as on any request', async () => {
    await check('auto', anonymous('GET /v2/'), 200, true);
    const received = upstream.requests.at(-1) ?? assert.fail();
    assert.equal(received.startLine, 'GET /v2/ HTTP/1.1');
    assert.deepEqual(values(received, 'host'), [clientHost]);
    await check('auto', anonymous('GET /v2/', `Authorization: ${basic}`), 200, false);
    assert.deepEqual(values(upstream.requests.at(-1) ?? assert.fail(), 'authorization'), []);
  });
});
