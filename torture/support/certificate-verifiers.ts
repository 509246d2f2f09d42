import { isIPv6, isIP } from 'node:net';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { password, user } from '../../test/support/front-door.ts';
import { run, type Finished } from '../../test/support/processes.ts';
import type { ConnectProxy } from './connect-proxy.ts';

/** Connects to Tidegate under a name; true: accepted its certificate, false: refused it. */
type Verify = (target: { name: string; port: number; trusting: boolean }) => Promise<boolean>;

/** A TLS implementation other than Tidegate's. */
export type CertificateVerifier = {
  readonly name: string;
  /** The programs that it needs. */
  readonly programs: readonly string[];
  /** Whether its client can connect to such a name at all. */
  takes(name: string): boolean;
  /** @throws Error in {@link Verify} for an outcome that is neither the one nor the other. */
  prepare(options: VerifierOptions): Promise<Verify>;
};

export type VerifierOptions = {
  /** Exists, is empty, and is its own. */
  readonly dir: string;
  readonly caPath: string;
  /** Resolves any name to Tidegate. */
  readonly proxy: ConnectProxy;
};

const any = () => true;
const inUrl = (name: string) => (isIPv6(name) ? `[${name}]` : name);

/** Reads from a client's output whether it accepted the certificate. */
function judge({ code, stdout, stderr }: Finished, accepted: RegExp, refused: RegExp): boolean {
  const said = `${stdout}\n${stderr}`;
  if (accepted.test(said) === refused.test(said))
    throw new Error(`exit code ${code ?? 'none'}, neither taken nor refused: ${said.trim()}`);
  return accepted.test(said);
}

const openssl: CertificateVerifier = {
  name: 'OpenSSL',
  programs: ['openssl'],
  takes: any,
  prepare: ({ caPath }) =>
    Promise.resolve(async ({ name, port, trusting }) => {
      const names = isIP(name) ? ['-verify_ip', name] : ['-servername', name, '-verify_hostname', name];
      const trust = trusting ? ['-CAfile', caPath] : ['-no-CAfile', '-no-CApath', '-no-CAstore'];
      const options = ['-verify_return_error', '-x509_strict', '-brief', ...names, ...trust];
      const done = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...options]);
      return judge(done, /^Verification: OK$/m, /^verify error:/m) && done.code === 0;
    }),
};

const skopeo: CertificateVerifier = {
  name: 'Go, as Skopeo',
  programs: ['skopeo'],
  takes: (name) => !isIPv6(name) && !name.includes('_'), // names of images have no place for them
  prepare: async ({ dir, caPath, proxy }) => {
    const [withCa, without] = [path.join(dir, 'with'), path.join(dir, 'without')];
    for (const certDir of [withCa, without]) await mkdir(certDir);
    await copyFile(caPath, path.join(withCa, 'ca.crt'));
    await writeFile(path.join(dir, 'auth.json'), '{}');
    const env = { ...proxied(proxy), HOME: dir, REGISTRY_AUTH_FILE: path.join(dir, 'auth.json') };
    return async ({ name, port, trusting }) => {
      proxy.targetPort = port;
      const trust = ['--cert-dir', trusting ? withCa : without];
      const image = `docker://${name}:${port}/app`;
      const args = ['list-tags', ...trust, '--creds', `${user}:${password}`, image];
      return judge(await run('skopeo', args, { env }), /"Tags"/, /x509: /);
    };
  },
};

const promtool: CertificateVerifier = {
  name: 'Go, as promtool',
  programs: ['promtool'],
  takes: any,
  prepare: async ({ dir, caPath, proxy }) => {
    await mkdir(path.join(dir, 'none'));
    await writeFile(path.join(dir, 'empty.crt'), '');
    return async ({ name, port, trusting }) => {
      proxy.targetPort = port;
      const SSL_CERT_FILE = trusting ? caPath : path.join(dir, 'empty.crt');
      const env = { ...proxied(proxy), SSL_CERT_FILE, SSL_CERT_DIR: path.join(dir, 'none') };
      const url = `https://${inUrl(name)}:${port}/`;
      return judge(await run('promtool', ['query', 'instant', url, 'up'], { env }), /error: 401/, /x509: /);
    };
  },
};

const nss: CertificateVerifier = {
  name: 'NSS',
  programs: ['certutil', 'tstclnt'],
  takes: any,
  prepare: async ({ dir, caPath }) => {
    const [withCa, without] = [path.join(dir, 'with'), path.join(dir, 'without')];
    for (const db of [withCa, without]) {
      await mkdir(db);
      await must('certutil', '-N', '-d', `sql:${db}`, '--empty-password');
    }
    await must('certutil', '-A', '-d', `sql:${withCa}`, '-n', 'ca', '-t', 'C,,', '-a', '-i', caPath);
    return async ({ name, port, trusting }) => {
      const args = [
        '-h',
        '127.0.0.1',
        '-p',
        String(port),
        '-a',
        name,
        '-d',
        `sql:${trusting ? withCa : without}`,
      ];
      const done = await run('tstclnt', [...args, '-Q']); // -Q: ends after the handshake
      const refused = /authentication of server cert failed/;
      return judge(done, done.code === 0 ? /^/ : /$^x/, refused);
    };
  },
};

const java: CertificateVerifier = {
  name: 'Java',
  programs: ['keytool'],
  takes: (name) => !name.includes('_'), // no host name by the letter of RFC 1123, which Java goes by
  prepare: async ({ dir, caPath, proxy }) => {
    const [withCa, other] = [path.join(dir, 'with.p12'), path.join(dir, 'other.p12')];
    const store = (file: string) => ['-keystore', file, '-storepass', storePassword];
    const storePassword = 'for one test only';
    await must('keytool', '-importcert', '-noprompt', '-alias', 'ca', '-file', caPath, ...store(withCa));
    // A store that trusts somebody else: Java takes none without a certificate.
    await must(
      'keytool',
      '-genkeypair',
      '-alias',
      'other',
      '-keyalg',
      'EC',
      '-dname',
      'CN=x',
      ...store(other),
    );
    const described = await must(
      'keytool',
      '-printcert',
      '-file',
      path.join(path.dirname(caPath), 'server.crt'),
    );
    if (/warning/i.test(described)) throw new Error(`keytool -printcert warns: ${described}`);
    return async ({ name, port, trusting }) => {
      proxy.targetPort = port;
      const properties = {
        'javax.net.ssl.trustStore': trusting ? withCa : other,
        'javax.net.ssl.trustStorePassword': storePassword,
        'https.proxyHost': '127.0.0.1',
        'https.proxyPort': proxy.port,
        'http.nonProxyHosts': '',
      };
      const settings = Object.entries(properties).map(([key, value]) => `-J-D${key}=${value}`);
      // What it is for is lists of revoked certificates, but it fetches them with Java's own client, which verifies.
      const url = `https://${inUrl(name)}:${port}/v2/app/tags/list`;
      const done = await run('keytool', [...settings, '-printcrl', '-file', url]);
      return judge(done, /HTTP response code: 401/, /SSLHandshakeException/);
    };
  },
};

/** Quick ones first. */
export const certificateVerifiers: readonly CertificateVerifier[] = [openssl, skopeo, promtool, nss, java];

const proxied = ({ url }: ConnectProxy): NodeJS.ProcessEnv => ({
  HTTPS_PROXY: url,
  https_proxy: url,
  NO_PROXY: '',
  no_proxy: '',
});

async function must(file: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(file, args);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}${stdout}`);
  return `${stdout}\n${stderr}`;
}
