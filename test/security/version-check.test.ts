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

/** Programs that nobody has put on a list, and names that only look like one of a known probe. */
const unknownAgents: readonly [client: string, userAgent: string][] = [
  ["nerdctl, Watchtower, and programs on distribution's own client library", 'Go-http-client/1.1'],
  ['the same over HTTP/2', 'Go-http-client/2.0'],
  ['apptainer', 'Apptainer/1.3.4 (Linux amd64) Go/1.22.7'],
  ['notation', 'notation/1.1.0'],
  ['distribution as a mirror', 'distribution/v3.0.0'],
  ['Python', 'python-requests/2.31.0'],
  ['Java', 'Java/17.0.10'],
  ['a monitor of its own name', 'my-docker-monitor/1.0'],
  ['a longer name than curl', 'curlish-registry-client/1.0'],
  ['a name with a dash after Mozilla', 'Mozilla-registry/5.0'],
  ['a name with a dash after Nomad', 'nomad-pack/0.1.0'],
  ['a name that begins with half of another', 'Edge Health'],
  ['a name that goes on', 'Edge Health Probes/1.0'],
  ['one that names a probe later', 'puller/1.0 curl/8.5.0'],
  ['one whose comment names a probe', 'puller/1.0 (like kube-probe/1.29; Mozilla/5.0)'],
  ['a client that also names Mozilla', 'docker/28.2.2 Mozilla/5.0'],
  ['no more than a slash', '/'],
];

/** Sent by those who take a 401 for a broken registry. */
const others: readonly [client: string, userAgent: string | null][] = [
  ['nobody', null],
  ['an empty User-Agent', ''],
  ['curl', 'curl/7.88.1'],
  ['wget', 'Wget/1.21.3'],
  ['BusyBox wget', 'Wget'],
  ['HTTPie', 'HTTPie/3.2.2'],
  ['Ansible', 'ansible-httpget'],
  ['a Kubernetes probe', 'kube-probe/1.29'],
  ['an AWS load balancer', 'ELB-HealthChecker/2.0'],
  ['a Google load balancer', 'GoogleHC/1.0'],
  ['a Google uptime check', 'GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)'],
  ['Route 53', 'Amazon-Route53-Health-Check-Service (ref 0c1e4b9a-4f1c; report http://amzn.to/1vsZADi)'],
  ['Azure Front Door', 'Edge Health Probe'],
  ['an Azure load balancer', 'Load Balancer Agent'],
  ['a Tencent load balancer', 'clb-healthcheck'],
  ['Envoy', 'Envoy/HC'],
  ['HAProxy', 'HAProxy'],
  ['Nomad', 'Nomad/1.7.2'],
  ['Consul', 'Consul Health Check'],
  ['Prometheus', 'Prometheus/2.51.0'],
  ['the blackbox exporter', 'Blackbox Exporter/0.25.0'],
  ['UptimeRobot', 'Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)'],
  ['UptimeRobot by itself', 'UptimeRobot/2.0'],
  ['Uptime Kuma', 'Uptime-Kuma/1.23.11'],
  ['Gatus', 'Gatus/1.0'],
  ['Pingdom', 'Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)'],
  ['Pingdom by its name', 'Pingdom'],
  ['Site24x7', 'Site24x7'],
  ['Zabbix', 'Zabbix'],
  ['Zabbix with its version', 'Zabbix 6.4.12'],
  ['Monit', 'Monit/5.33.0'],
  ['Nagios', 'check_http/v2.3.1 (monitoring-plugins 2.3.1)'],
  ['Nagios with curl', 'check_curl/v2.3.5 (monitoring-plugins 2.3.5, libcurl/7.88.1 OpenSSL/3.0.11)'],
  ['a probe in capitals', 'KUBE-PROBE/1.29'],
  ['Firefox', 'Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0'],
  [
    'Chrome',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36',
  ],
  [
    'Safari',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15',
  ],
];

const challenge = ['Basic realm="Registry"'];
const withAgent = (userAgent: string | null) => (userAgent === null ? [] : [`User-Agent: ${userAgent}`]);

describe('the version check', { timeout: 240_000 }, () => {
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
      const set = [
        `auth.versionCheck=${mode}`,
        'auth.challengeAgents=Acme Puller/',
        'auth.openAgents=Acme Watch,puller/2',
      ];
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

  for (const [client, userAgent] of [...registryClients, ...unknownAgents]) {
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

  test('further agents of the configuration, in any case: those to be challenged overrule those that are not', async () => {
    await check('auto', anonymous('GET /v2/', 'User-Agent: Mozilla (ACME puller/7)'), 401, true);
    await check('auto', anonymous('GET /v2/', 'User-Agent: Acme Pusher/7'), 401, true);
    await check('auto', anonymous('GET /v2/', 'User-Agent: the ACME WATCH/7'), 200, true);
    await check('auto', anonymous('GET /v2/', 'User-Agent: puller/2.1'), 200, true);
    await check('auto', anonymous('GET /v2/', 'User-Agent: Acme Puller/2.1'), 401, true);
    await check('auto', anonymous('HEAD /v2/', 'User-Agent: Acme Puller/2.1'), 200, true);
    await check('challenge', anonymous('GET /v2/', 'User-Agent: Acme Watch/7'), 401, true);
  });

  test('a ping of a library without a name of its own gets what makes it send its credentials', async () => {
    // The very head that Go's net/http writes for distribution's client, and for one that names no User-Agent.
    const ping = (...lines: string[]) =>
      head('GET /v2/ HTTP/1.1', `Host: ${clientHost}`, ...lines, 'Accept-Encoding: gzip');
    const asked = await check('auto', ping('User-Agent: Go-http-client/1.1'), 401, true);
    assert.equal(errorCode(asked), 'UNAUTHORIZED');
    await check('auto', ping('User-Agent: Go-http-client/1.1', `Authorization: ${basic}`), 200, false);
    const wrong = `Authorization: Basic ${Buffer.from(`${user}:${password}x`).toString('base64')}`;
    await check('auto', ping('User-Agent: Go-http-client/1.1', wrong), 401, true);
    await check('auto', ping(), 200, true);
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

  test('an empty name with an empty password is as none', async () => {
    const nobody = 'Authorization: Basic Og==';
    await check('auto', anonymous('GET /v2/', nobody, 'User-Agent: skopeo/1.9.3'), 401, true);
    await check('auto', anonymous('GET /v2/', nobody, 'User-Agent: curl/8.5.0'), 200, true);
    await check('auto', anonymous('HEAD /v2/', nobody, 'User-Agent: skopeo/1.9.3'), 200, true);
    await check('challenge', anonymous('GET /v2/', nobody), 401, true);
    for (const other of ['Basic Ong=', 'Basic Og==, Basic Og==', 'Basic'])
      await check('auto', anonymous('GET /v2/', `Authorization: ${other}`), 401, true);
    await check('auto', anonymous('GET /v2/', nobody, nobody), 401, true);
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
