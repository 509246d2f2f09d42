import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { createCertificates } from '../../../src/tls/issue/self-signed.ts';
import { runDoctor } from '../../support/doctor.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startNginx, transparent, type Nginx } from '../../support/nginx.ts';
import { run } from '../../support/processes.ts';
import { freePort } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const dayMs = 86_400_000;

describe(
  'tidegate doctor as a client',
  { skip: unlessInstalled('docker-registry', 'nginx', 'openssl') },
  () => {
    let registry: Registry;
    let frontDoor: FrontDoor;
    let folder: string;
    let nginx: Nginx | undefined;
    let other: FrontDoor | undefined;
    let server: Server | undefined;
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'tidegate-doctor-'));
      registry = await startRegistry();
      frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
    });
    afterEach(async () => {
      await nginx?.stop();
      await other?.stop();
      nginx = other = undefined;
      server?.closeAllConnections();
      server?.close();
      server = undefined;
    });
    after(async () => {
      await frontDoor.stop();
      await registry.stop();
      await rm(folder, { recursive: true });
    });

    const certs = () => path.join(frontDoor.dir, 'certs');
    /** nginx before Tidegate, with Tidegate's own certificate unless another is given. */
    const askThroughNginx = async ({
      directives = transparent,
      certDir = certs(),
      upstream = `https://127.0.0.1:${frontDoor.port}`,
      host = '127.0.0.1',
    } = {}) => {
      const certPath = path.join(certDir, 'server.crt');
      const keyPath = path.join(certDir, 'server.key');
      nginx = await startNginx({ certPath, keyPath, upstream, directives });
      return runDoctor([`https://${host}:${nginx.port}`, '--ca', path.join(certDir, 'ca.crt')], {
        cwd: folder,
      });
    };
    const makeCertificates = async (name: string, options: { hosts: string[]; days: number; now: Date }) => {
      const outDir = path.join(folder, name);
      await createCertificates({ outDir, ips: ['127.0.0.1'], ...options });
      return outDir;
    };

    it('finds nothing wrong with a proxy that passes everything on, and leaves nothing behind', async () => {
      const { problems, find, code, url } = await askThroughNginx();
      assert.deepEqual(problems, []);
      assert.equal(code, 0);
      assert.equal(url, `https://127.0.0.1:${nginx?.port ?? 0}`);
      for (const check of ['password.right', 'upload.chunked', 'upload.cancel', 'blob.read', 'blob.delete']) {
        assert.equal(find(check).state, 'ok', check);
      }
      assert.equal(find('config').state, 'skipped');
      const repository = path.join(registry.storageDir, 'docker/registry/v2/repositories/tidegate-doctor');
      // Of an upload that was cancelled distribution 2.8 keeps its digest's state, some hundred bytes.
      const uploads = await readdir(path.join(repository, '_uploads'), { recursive: true });
      assert.deepEqual(
        uploads.filter((name) => /(data|startedat)$/.test(name)),
        [],
      );
      const layers = await readdir(path.join(repository, '_layers/sha256'), { recursive: true });
      assert.deepEqual(
        layers.filter((name) => name.endsWith('link')),
        [],
      );
      assert.ok(!(await readdir(repository)).includes('_manifests'));
    });

    it('fetches a token where they are given, and uses it', async () => {
      other = await startFrontDoor({ upstreamUrl: registry.url, set: ['auth.tokens=on'] });
      const upstream = `https://127.0.0.1:${other.port}`;
      const { problems, find } = await askThroughNginx({ upstream });
      assert.deepEqual(problems, []);
      assert.match(find('challenge.docker').what, /a Bearer challenge/);
      assert.match(find('password.right').what, /and so is the token/);
      const directives = transparent.map((line) => line.replace('$http_host', 'inner.example'));
      await nginx?.stop();
      const misled = await askThroughNginx({ directives, upstream });
      assert.deepEqual(misled.problems, ['challenge.docker: broken', 'upload.location: broken']);
    });

    it('finds a limit on the size of bodies', async () => {
      const directives = transparent.map((line) =>
        line.replace('client_max_body_size 0', 'client_max_body_size 1m'),
      );
      const { problems, find } = await askThroughNginx({ directives });
      assert.deepEqual(problems, ['upload.chunked: broken']);
      assert.match(find('upload.chunked').what, /413 by "nginx/);
      assert.match(find('upload.chunked').fix ?? '', /client_max_body_size 0/);
    });

    it('finds a proxy that takes in whole bodies first', async () => {
      const directives = transparent.filter((line) => !line.startsWith('proxy_request_buffering'));
      const { problems } = await askThroughNginx({ directives });
      assert.deepEqual(problems, ['upload.streaming: warning']);
    });

    it('finds a Location that points at http', async () => {
      const directives = transparent.map((line) =>
        line.startsWith('proxy_redirect') ? 'proxy_redirect https:// http://;' : line,
      );
      const { problems, find } = await askThroughNginx({ directives });
      assert.deepEqual(problems, ['upload.location: broken']);
      assert.match(find('upload.location').what, /points at http:\/\/127\.0\.0\.1/);
    });

    it('finds a proxy that names another host', async () => {
      const directives = transparent.map((line) => line.replace('$http_host', 'inner.example'));
      assert.deepEqual((await askThroughNginx({ directives })).problems, ['upload.location: broken']);
    });

    it('finds a proxy that closes every connection', async () => {
      const { problems } = await askThroughNginx({ directives: [...transparent, 'keepalive_timeout 0;'] });
      assert.deepEqual(problems, ['keep-alive: warning']);
    });

    it('finds TLS versions that are not safe any more', async () => {
      const directives = [
        ...transparent,
        'ssl_protocols TLSv1.1 TLSv1.2;',
        'ssl_ciphers DEFAULT:@SECLEVEL=0;',
      ];
      const { problems, find } = await askThroughNginx({ directives });
      assert.deepEqual(problems, ['tls.versions: warning']);
      assert.match(find('tls.versions').what, /TLSv1\.1, TLSv1\.2/);
    });

    it('finds that the way to the registry has no password', async () => {
      const { problems } = await askThroughNginx({ upstream: registry.url });
      assert.deepEqual(problems, [
        'challenge.docker: broken',
        'access.anonymous: broken',
        'password.wrong: broken',
        'upload.streaming: warning',
      ]);
    });

    it('finds an expired certificate, and sends no password to its server', async () => {
      const now = new Date(Date.now() - 30 * dayMs);
      const certDir = await makeCertificates('expired', { hosts: ['localhost'], days: 10, now });
      const { problems, find } = await askThroughNginx({ certDir });
      assert.deepEqual(problems, ['tls.lifetime: broken']);
      assert.match(find('tls.lifetime').what, /expired 20 days ago/);
      assert.equal(find('password.right').state, 'skipped');
      assert.match(find('password.right').what, /not verified/);
    });

    it('finds a certificate that ends soon', async () => {
      const certDir = await makeCertificates('soon', { hosts: ['localhost'], days: 10, now: new Date() });
      const { problems, find } = await askThroughNginx({ certDir });
      assert.deepEqual(problems, ['tls.lifetime: warning']);
      assert.equal(find('password.right').state, 'ok');
    });

    it('finds a certificate for other names', async () => {
      const now = new Date();
      const certDir = await makeCertificates('names', { hosts: ['other.example'], days: 100, now });
      const { problems, find } = await askThroughNginx({ certDir, host: 'localhost' });
      assert.deepEqual(
        problems.filter((problem) => problem !== 'port: warning'), // where localhost is ::1 too
        ['tls.name: broken'],
      );
      assert.match(find('tls.name').fix ?? '', /--host other\.example,localhost/);
      assert.equal(find('password.right').state, 'skipped');
    });

    it('finds a CA that nobody knows', async () => {
      const url = `https://127.0.0.1:${frontDoor.port}`;
      const { problems, find } = await runDoctor([url], { cwd: folder });
      assert.deepEqual(problems, ['tls.chain: broken']);
      assert.match(find('tls.chain').what, /"Tidegate CA [0-9a-f]{8}" is not known to the system's CAs/);
      assert.equal(find('upload.start').state, 'skipped');
    });

    it('finds a wrong password', async () => {
      other = await startFrontDoor({
        upstreamUrl: registry.url,
        htpasswd: 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdu\n',
      });
      const url = `https://127.0.0.1:${other.port}`;
      const { problems } = await runDoctor([url, '--ca', other.caPath], { cwd: folder });
      assert.deepEqual(problems, ['password.right: broken', 'upload.start: broken']);
    });

    it('finds that the registry behind is gone', async () => {
      other = await startFrontDoor({ upstreamUrl: `http://127.0.0.1:${await freePort()}` });
      const url = `https://127.0.0.1:${other.port}`;
      const { problems, find } = await runDoctor([url, '--ca', other.caPath], { cwd: folder });
      assert.deepEqual(problems, [
        'challenge.others: broken',
        'password.right: broken',
        'upload.start: broken',
      ]);
      assert.match(find('challenge.others').what, /502: the registry behind does not answer/);
    });

    it('finds a port at which nothing listens, and skips what needs it', async () => {
      const { problems, findings } = await runDoctor([`https://127.0.0.1:${await freePort()}`], {
        cwd: folder,
      });
      assert.deepEqual(problems, ['port: broken']);
      assert.deepEqual(
        findings.filter(({ state }) => state !== 'skipped').map(({ check }) => check),
        ['dns', 'port'],
      );
    });

    it('finds a name that does not resolve', async () => {
      const { problems } = await runDoctor(['https://registry.invalid'], { cwd: folder });
      assert.deepEqual(problems, ['dns: broken']);
    });

    it('finds a port that speaks plain HTTP', async () => {
      const { port } = new URL(registry.url);
      const { problems, find } = await runDoctor([`https://127.0.0.1:${port}`], { cwd: folder });
      assert.deepEqual(problems, ['plain-http: broken', 'tls.handshake: broken']);
      assert.match(find('tls.handshake').what, /does not speak TLS/);
    });

    it('says that a client certificate is demanded, and takes one', async () => {
      const caPath = path.join(certs(), 'ca.crt');
      other = await startFrontDoor({ upstreamUrl: registry.url, set: [`tls.clientCa=${caPath}`] });
      const args = [`https://127.0.0.1:${other.port}`, '--ca', other.caPath];
      const without = await runDoctor(args, { cwd: folder });
      const { certPath, keyPath } = await makeClientCertificate();
      const withOne = await runDoctor([...args, '--client-cert', certPath, '--client-key', keyPath], {
        cwd: folder,
      });
      assert.deepEqual(without.problems, []);
      assert.equal(without.find('http').state, 'skipped');
      assert.match(without.find('http').fix ?? '', /--client-cert/);
      assert.deepEqual(withOne.problems, []);
      assert.equal(withOne.find('password.right').state, 'ok');
    });

    const standIn = async (listener: RequestListener) => {
      const [cert, key] = await Promise.all(
        ['server.crt', 'server.key'].map((name) => readFile(path.join(certs(), name))),
      );
      server = createServer({ cert, key }, listener).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      return [`https://127.0.0.1:${port}`, '--ca', path.join(certs(), 'ca.crt')];
    };
    const challenge = {
      'WWW-Authenticate': 'Basic realm="Registry"',
      'Docker-Distribution-Api-Version': 'registry/2.0',
    };

    it('sends no password to a server that it cannot verify', async () => {
      const seen: (string | undefined)[] = [];
      const [url = ''] = await standIn(({ headers }, response) => {
        seen.push(headers.authorization);
        response.writeHead(401, challenge).end();
      });
      const { problems } = await runDoctor([url], { cwd: folder });
      assert.deepEqual(problems, ['tls.chain: broken']);
      const names = seen.flatMap((header) =>
        header === undefined ? [] : [Buffer.from(header.slice('Basic '.length), 'base64').toString()],
      );
      assert.match(names.join('\n'), /^doctor-[0-9a-f]+:\S+$/, 'only the one that nobody has');
    });

    it('finds a clock that is wrong', async () => {
      const args = await standIn((_, response) => {
        response.writeHead(401, { ...challenge, Date: new Date(Date.now() + 600_000).toUTCString() }).end();
      });
      const { problems, find } = await runDoctor(args, { login: false, cwd: folder });
      assert.deepEqual(problems, ['clock: warning']);
      assert.match(find('clock').what, /clock is (599|60[0-9]) s ahead of/);
    });

    it('gives up on a server that never answers, and ends', async () => {
      const args = await standIn(() => {});
      const { problems, find } = await runDoctor(args, { login: false, cwd: folder });
      assert.deepEqual(problems, ['http: broken']);
      assert.match(find('http').what, /no answer came in time/);
      assert.equal(find('challenge.docker').state, 'skipped');
    });

    it('prints nothing of a server that could reach the terminal', async () => {
      const args = await standIn((_, response) => {
        response.writeHead(418, { Server: 'x\u0009y' + '\u009B31m'.repeat(99) }).end();
      });
      const { find } = await runDoctor(args, { login: false, cwd: folder });
      assert.match(find('challenge.docker').what, /418 by "x y/);
      assert.doesNotMatch(find('challenge.docker').what, /\p{Cc}/u);
      assert.ok(find('challenge.docker').what.length < 250);
    });

    /** Signed by Tidegate's CA. */
    async function makeClientCertificate(): Promise<{ certPath: string; keyPath: string }> {
      const certPath = path.join(folder, 'client.crt');
      const keyPath = path.join(folder, 'client.key');
      const subject = ['-subj', '/CN=alice', '-addext', 'extendedKeyUsage=clientAuth'];
      const ca = ['-CA', path.join(certs(), 'ca.crt'), '-CAkey', path.join(certs(), 'ca.key')];
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyPath];
      const made = await run('openssl', [
        'req',
        '-x509',
        ...subject,
        ...ca,
        ...key,
        '-days',
        '2',
        '-out',
        certPath,
      ]);
      assert.equal(made.code, 0, made.stderr);
      return { certPath, keyPath };
    }
  },
);
