import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startFrontDoor, type FrontDoor } from '../../test/support/front-door.ts';
import { run } from '../../test/support/processes.ts';
import { unlessInstalled } from '../../test/support/requirement.ts';
import { authorized, exchange } from '../../test/support/raw-client.ts';
import { startUpstream, type UpstreamScript } from '../../test/support/scripted-upstream.ts';
import { head } from '../../test/support/http-message.ts';
import { certificateVerifiers, type CertificateVerifier } from '../support/certificate-verifiers.ts';
import { startConnectProxy, type ConnectProxy } from '../support/connect-proxy.ts';
import { startJunkRelay } from '../support/junk-relay.ts';
import { runSslscan, runTestssl, type TestsslFinding } from '../support/tls-scanners.ts';
import type { Form, Part, Trial } from '../trial.ts';

type Version = 'TLSv1.2' | 'TLSv1.3';
type Door = {
  readonly what: string;
  readonly frontDoor: FrontDoor;
  readonly minVersion: Version;
  readonly caPath: string;
};

/** Addresses that are for documentation (RFC 5737, RFC 3849), as are the names (RFC 2606). */
const hosts = [
  ...['localhost', 'registry.example', 'second.registry.example', 'xn--bcher-kva.example'],
  ...['*.apps.example', 'under_score.example', '192.0.2.10', '2001:db8::10'],
];
/** Longer than a common name may be, so that the subject is empty and the alternative names are critical. */
const longHost = `${'a'.repeat(63)}.${'b'.repeat(63)}.example`;

const accepted = [...hosts.filter((host) => !host.startsWith('*')), 'one.apps.example', '127.0.0.1'];
const refused = [
  ...['other.example', 'example', 'registry.example.other.example', 'xregistry.example'],
  ...['apps.example', 'two.one.apps.example', 'bucher.example', '192.0.2.11', '2001:db8::11'],
];

/** What testssl.sh counts as worse than low, and why it stands. */
const standing: Readonly<Record<string, string>> = {
  cert_revocation: "a CA of one's own has no server to ask; docs/security/limits.md says so",
  engine_problem: "about the machine's OpenSSL: it cannot try GOST",
};
const badSeverities: readonly string[] = ['MEDIUM', 'HIGH', 'CRITICAL', 'WARN', 'FATAL'];

/** The allowed groups of the key exchange: none costs the server much more than the client (CVE-2002-20001). */
const allowedGroups = /^(x25519|secp256r1|secp384r1|X25519MLKEM768)\b/;

const answerTags: UpstreamScript = async (request) => {
  await request.body();
  const body = '{"name":"app","tags":["1"]}';
  const type = 'Content-Type: application/json';
  request.answer(head('HTTP/1.1 200 OK', type, `Content-Length: ${body.length}`), body);
};

/** What the handshake reveals, and which verifiers accept the certificates of `cert create`. */
export const tls: Part = {
  name: 'TLS',
  open: async ({ form }) => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-torture-tls-'));
    const closing: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true })];
    const close = async () => {
      for (const step of closing.splice(0).reverse()) await step();
    };
    try {
      const upstream = await startUpstream({ script: answerTags });
      closing.push(() => upstream.close());
      const proxy = await startConnectProxy();
      closing.push(() => proxy.close());
      const own = await createEllipticPair(dir);
      const open = async (
        what: string,
        minVersion: Version,
        names: readonly string[],
        set: string[] = [],
      ) => {
        const settings = [`tls.minVersion=${minVersion}`, ...set];
        const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, hosts: names, set: settings });
        closing.push(() => frontDoor.stop());
        const caPath = set.length === 0 ? frontDoor.caPath : own.cert;
        return { what, frontDoor, minVersion, caPath };
      };
      const usual = await open('as it is by default', 'TLSv1.2', hosts);
      const strict = await open('with tls.minVersion 1.3', 'TLSv1.3', ['localhost', longHost].reverse());
      const elliptic = await open(
        "with an operator's own ECDSA key",
        'TLSv1.2',
        ['localhost'],
        [`tls.cert=${own.cert}`, `tls.key=${own.key}`],
      );
      const doors = [usual, strict, elliptic];
      const verifiers = certificateVerifiers.filter(({ name }) => runsIn(form, name));
      return {
        trials: [
          ...doors.map(scanWithSslscan),
          ...(form === 'quick' ? [] : doors.map(scanWithTestssl)),
          {
            name: 'a registry and a Redis whose certificates are refused, and who go on with what is no TLS, end no process',
            run: () => meetJunk(usual.frontDoor.port),
          },
          ...verifiers.map((verifier) =>
            optional(verifier.programs, {
              name: `${verifier.name} takes certificates of cert create for their names, and for no others`,
              run: async () => {
                const options = { dir: path.join(dir, verifier.name.replaceAll(/\W/g, '')), proxy };
                const usually = await tryNames(verifier, usual, accepted, options);
                return usually + (await tryNames(verifier, strict, [longHost, 'localhost'], options));
              },
            }),
          ),
        ],
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  },
};

const slowOnes: readonly string[] = ['Java'];

function runsIn(form: Form, verifier: string): boolean {
  if (form === 'quick') return ['OpenSSL', 'Go, as Skopeo'].includes(verifier);
  return form === 'long' || !slowOnes.includes(verifier);
}

/** Returns how many names were tried. Rejects if one was wrongly accepted or wrongly refused. */
async function tryNames(
  verifier: CertificateVerifier,
  { what, frontDoor: { port }, minVersion, caPath }: Door,
  good: readonly string[],
  options: { dir: string; proxy: ConnectProxy },
): Promise<number> {
  const dir = path.join(options.dir, minVersion);
  await mkdir(dir, { recursive: true });
  const verify = await verifier.prepare({ dir, caPath, proxy: options.proxy });
  const expectations = [
    ...good.map((name) => ({ name, trusting: true, taken: true })),
    ...refused.map((name) => ({ name, trusting: true, taken: false })),
    { name: good[0] ?? '', trusting: false, taken: false },
  ].filter(({ name }) => verifier.takes(name));
  for (const { name, trusting, taken } of expectations) {
    const where = `${name}, ${trusting ? 'trusting the CA' : 'without the CA'}, ${what}`;
    const outcome = await verify({ name, port, trusting }).catch((error: unknown) => {
      throw new Error(`${where}: ${(error as Error).message}`);
    });
    assert.equal(outcome, taken, where);
  }
  return expectations.length;
}

/** A trial that is skipped with a reason if its program is not installed. */
function optional(programs: readonly string[], trial: Trial): Trial {
  const reason = unlessInstalled(...programs);
  return reason === false
    ? trial
    : { name: `${trial.name} (skipped: ${reason})`, run: () => Promise.resolve(0) };
}

/** The Tidegate on this port stands for both servers: its certificate is of a CA that the other does not trust. */
async function meetJunk(targetPort: number): Promise<number> {
  const relays = [await startJunkRelay(targetPort), await startJunkRelay(targetPort)] as const;
  const [upstream, redis] = relays;
  try {
    const frontDoor = await startFrontDoor({
      upstreamUrl: `https://127.0.0.1:${upstream.port}`,
      set: ['cache.driver=redis', `cache.redis.url=rediss://127.0.0.1:${redis.port}`],
    });
    try {
      while (upstream.spoken < 10 || redis.spoken < 10) {
        const { status } = await exchange(frontDoor, authorized('GET /v2/app/manifests/1'));
        assert.equal(status, 502);
        assert.equal(frontDoor.process.exitCode, null);
      }
    } finally {
      await frontDoor.stop();
    }
    assert.equal(frontDoor.process.signalCode ?? 'SIGINT', 'SIGINT');
    assert.equal(
      frontDoor.log.find(({ msg }) => msg.includes('worker')),
      undefined,
    );
    return upstream.spoken + redis.spoken;
  } finally {
    for (const relay of relays) await relay.close();
  }
}

function scanWithSslscan({ what, frontDoor, minVersion, caPath }: Door): Trial {
  return optional(['sslscan'], {
    name: `sslscan finds nothing to object to ${what}`,
    run: async () => {
      const report = await runSslscan({ port: frontDoor.port, caPath });
      const enabled = report('protocol').filter((protocol) => protocol['enabled'] !== '0');
      const versions = minVersion === 'TLSv1.3' ? ['1.3'] : ['1.2', '1.3'];
      assert.deepEqual(
        enabled.map((protocol) => protocol['version']),
        versions,
      );
      const ciphers = report('cipher');
      assert.ok(ciphers.length >= 3);
      for (const { cipher = '', strength = '', bits } of ciphers) {
        assert.match(cipher, /^(TLS_(AES_\d+_GCM|CHACHA20_POLY1305)_|ECDHE-.*(GCM|POLY1305))/);
        assert.ok(['acceptable', 'strong'].includes(strength), `${cipher} is ${strength}`);
        assert.ok(Number(bits) >= 128, cipher);
      }
      const groups = report('group');
      assert.ok(groups.length >= 3);
      for (const { name = '' } of groups) assert.match(name, allowedGroups);
      const heartbleeds = report('heartbleed');
      assert.equal(heartbleeds.length, versions.length);
      for (const { vulnerable } of heartbleeds) assert.equal(vulnerable, '0');
      const faults = [...report('renegotiation'), ...report('compression')];
      for (const { supported } of faults) assert.equal(supported, '0');
      const [key = {}] = report('pk');
      assert.equal(key['error'], 'false');
      return (
        report('protocol').length + ciphers.length + groups.length + heartbleeds.length + faults.length + 1
      );
    },
  });
}

function scanWithTestssl({ what, frontDoor, caPath }: Door): Trial {
  return optional(['testssl'], {
    name: `testssl.sh finds nothing above low ${what}, but that certificates are not revoked`,
    run: async () => {
      const target = { port: frontDoor.port, caPath };
      const stands = ({ id }: TestsslFinding) => id in standing;
      const isBad = (finding: TestsslFinding) => badSeverities.includes(finding.severity) && !stands(finding);
      let findings = await runTestssl(target);
      // WARN is what it could not check, as on a machine that is too busy: no answer, so it is asked once more.
      if (findings.some((finding) => isBad(finding) && finding.severity === 'WARN'))
        findings = await runTestssl(target);
      assert.deepEqual(findings.filter(isBad), []);
      return findings.length;
    },
  });
}

/** Creates a certificate as an operator would: self-signed, on the curve P-256. */
async function createEllipticPair(dir: string): Promise<{ cert: string; key: string }> {
  const [cert, key] = [path.join(dir, 'own.crt'), path.join(dir, 'own.key')];
  const { code, stderr } = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '300'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-out', cert, '-keyout', key],
  ]);
  if (code !== 0) throw new Error(`openssl failed: ${stderr}`);
  return { cert, key };
}
