import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { createAdminChecks } from '../../../src/doctor/operator/admin.ts';
import { runChecks } from '../../../src/doctor/check.ts';
import { outerAddresses } from '../../../src/doctor/operator/listening-sockets.ts';
import { createCertificates } from '../../../src/tls/issue/self-signed.ts';
import { asFlags, quietSettings, runDoctor } from '../../support/doctor.ts';
import { password, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { startNginx } from '../../support/nginx.ts';
import { mainPath, run, tidegate } from '../../support/processes.ts';
import { freePort, startRedis, type RedisServer } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** bcrypt of the user's password at cost 10. */
const strongLine = 'alice:$2y$10$KpE.LyobooILY/ZbLfAiluMkDttyKV1XJUmgZY.f3tyM3zCXD/6KW\n';
const weakLine = 'alice:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n';

describe(
  'tidegate doctor as an operator',
  { skip: unlessInstalled('docker-registry', 'redis-server', 'nginx') },
  () => {
    let registry: Registry;
    let redis: RedisServer;
    let frontDoor: FrontDoor;
    let folder: string;
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'tidegate-doctor-'));
      [registry, redis] = await Promise.all([startRegistry(), startRedis()]);
      await mkdir(path.join(registry.storageDir, 'docker/registry/v2/blobs'), { recursive: true });
      frontDoor = await startFrontDoor({
        upstreamUrl: registry.url,
        htpasswd: strongLine,
        set: [
          ...quietSettings,
          'cache.driver=redis',
          `cache.redis.url=redis://${redis.address}`,
          `upstream.storage=${registry.storageDir}`,
        ],
      });
    });
    beforeEach(async () => {
      await redis.admin.config('SET', 'maxmemory', '160mb', 'maxmemory-policy', 'noeviction');
      await writeFile(frontDoor.htpasswdPath, strongLine);
      await chmod(frontDoor.htpasswdPath, 0o600);
      await chmod(keyPath(), 0o600);
    });
    after(async () => {
      await frontDoor.stop();
      await Promise.all([registry.stop(), redis.stop()]);
      await rm(folder, { recursive: true });
    });

    const keyPath = () => path.join(frontDoor.dir, 'certs/server.key');
    /** The settings of the running Tidegate, with the port that it listens on. */
    const settings = () => [
      ...quietSettings,
      'listen.host=127.0.0.1',
      `listen.port=${frontDoor.port}`,
      `tls.cert=${frontDoor.dir}/certs/server.crt`,
      `tls.key=${keyPath()}`,
      `auth.htpasswd=${frontDoor.htpasswdPath}`,
      `upstream.url=${registry.url}`,
      `upstream.storage=${registry.storageDir}`,
      'cache.driver=redis',
      `cache.redis.url=redis://${redis.address}`,
    ];
    const examine = (further: readonly string[] = []) =>
      runDoctor([`https://127.0.0.1:${frontDoor.port}`, ...asFlags([...settings(), ...further])], {
        cwd: folder,
      });

    it('finds nothing wrong with a set-up that is right', async () => {
      const { findings, problems } = await examine();
      assert.deepEqual(problems, []);
      const skipped = findings.filter(({ state }) => state === 'skipped').map(({ check }) => check);
      // What the machine that runs the tests may not have, what this set-up does not, and what takes days to know.
      const allowed = ['files.config', 'admin.ready', 'machine.clock', 'htpasswd.machines'];
      assert.deepEqual(
        skipped.filter((check) => !allowed.includes(check)),
        [],
      );
    });

    it('says the same for people, a line a finding, and no password, which a pipe is read for', async () => {
      const args = ['doctor', `https://127.0.0.1:${frontDoor.port}`, ...asFlags(settings())];
      const { code, stdout, stderr } = await tidegate([...args, '--user', 'alice'], {
        input: password,
        cwd: folder,
      });
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(
        stdout,
        new RegExp(`^As a client: https://127\\.0\\.0\\.1:${frontDoor.port}\n {2}ok {7}dns {9}`),
      );
      assert.match(stdout, /^As an operator, on this machine\n {2}ok {7}config {2}/m);
      assert.match(stdout, /\n\d+ ok, .*\d+ skipped\n$/);
      assert.ok(!stdout.includes(password) && !stdout.includes('\u001B'));
    });

    it('takes host and port from the configuration', async () => {
      const { url, find } = await runDoctor(asFlags(settings()), { cwd: folder });
      assert.equal(url, `https://localhost:${frontDoor.port}`);
      for (const check of ['tls.chain', 'tls.name', 'tls.served', 'password.right']) {
        assert.equal(find(check).state, 'ok', check);
      }
      assert.match(find('tls.chain').what, new RegExp(`verified with ${frontDoor.dir}/certs/ca\\.crt`));
    });

    it('finds weak hashes, by name and line', async () => {
      await writeFile(frontDoor.htpasswdPath, `${strongLine}${weakLine.replace('alice', 'bob')}`);
      const { problems, find } = await examine();
      assert.deepEqual(problems, ['htpasswd.hashes: warning']);
      assert.match(find('htpasswd.hashes').what, /bob \(line 2, bcrypt of cost 4\)/);
      assert.match(find('htpasswd.hashes').fix ?? '', /tidegate user add bob --file /);
    });

    it('finds lines that never match, and repeats nothing of them', async () => {
      await writeFile(
        frontDoor.htpasswdPath,
        `${strongLine}carol:plaintext\ndave:$2y$15$${'a'.repeat(53)}\n`,
      );
      const { problems, find } = await examine();
      assert.deepEqual(problems, ['htpasswd.lines: warning']);
      assert.match(find('htpasswd.lines').what, /^2 lines .* never match: line 2: .*; line 3: /);
      assert.doesNotMatch(find('htpasswd.lines').what, /plaintext/);
    });

    it('finds a key that everyone can read', async () => {
      await chmod(keyPath(), 0o644);
      const { problems, find } = await examine();
      assert.deepEqual(problems, ['files.key: broken']);
      assert.match(find('files.key').what, /read by every user of this machine \(0644\)/);
    });

    it('finds an htpasswd file that everyone can read, or change', async () => {
      await chmod(frontDoor.htpasswdPath, 0o644);
      assert.deepEqual((await examine()).problems, ['files.htpasswd: warning']);
      await chmod(frontDoor.htpasswdPath, 0o646);
      assert.deepEqual((await examine()).problems, ['files.htpasswd: broken']);
    });

    it('finds a Redis that has too little, or that evicts locks with the answers', async () => {
      await redis.admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
      assert.deepEqual((await examine()).problems, ['redis.eviction: warning']);
      await redis.admin.config('SET', 'maxmemory', '20mb', 'maxmemory-policy', 'allkeys-random');
      assert.deepEqual((await examine()).problems, ['redis.memory: warning', 'redis.eviction: warning']);
    });

    it('finds a Redis that is down', async () => {
      const { problems, find } = await examine([`cache.redis.url=redis://127.0.0.1:${await freePort()}`]);
      assert.deepEqual(problems, ['redis.reachable: broken']);
      assert.match(find('redis.reachable').what, /nothing listens there/);
    });

    it('verifies a registry behind TLS, and says when its CA is not known', async () => {
      const certDir = path.join(folder, 'upstream');
      await createCertificates({
        outDir: certDir,
        hosts: ['localhost'],
        ips: ['127.0.0.1'],
        now: new Date(),
      });
      const [certPath, keyPath] = [path.join(certDir, 'server.crt'), path.join(certDir, 'server.key')];
      const nginx = await startNginx({ certPath, keyPath, upstream: registry.url });
      const url = `upstream.url=https://127.0.0.1:${nginx.port}`;
      const known = await examine([url, `upstream.ca=${certDir}/ca.crt`]);
      const unknown = await examine([url]);
      await nginx.stop();
      assert.deepEqual(known.problems, []);
      assert.deepEqual(unknown.problems, ['upstream.answer: broken']);
      assert.match(unknown.find('upstream.answer').what, /certificate/);
      assert.match(unknown.find('upstream.answer').fix ?? '', /upstream\.ca/);
    });

    it('finds that the registry is not where the configuration says', async () => {
      const { problems } = await examine([`upstream.url=http://127.0.0.1:${await freePort()}`]);
      assert.deepEqual(problems, ['upstream.answer: broken']);
    });

    it('finds a folder that is not the registry’s', async () => {
      assert.deepEqual((await examine([`upstream.storage=${folder}`])).problems, [
        'storage.readable: warning',
      ]);
    });

    it('takes the folder of a registry that has taken no upload to its end yet', async () => {
      const begun = path.join(folder, 'begun');
      await mkdir(path.join(begun, 'docker/registry/v2/repositories/tidegate-doctor/_uploads'), {
        recursive: true,
      });
      const { problems, find } = await examine([`upstream.storage=${begun}`]);
      assert.deepEqual(problems, []);
      assert.equal(find('storage.readable').state, 'ok');
    });

    it('finds another version check than the configuration says', async () => {
      const { problems } = await examine(['auth.versionCheck=challenge']);
      assert.deepEqual(problems, ['challenge.others: warning']);
    });

    it('finds that another certificate lies on disk than the one that is served', async () => {
      const { problems, find } = await examineWithCertificate('renewed', { days: 100, now: new Date() });
      assert.deepEqual(problems, ['tls.served: warning']);
      assert.equal(find('tls.served').fix, 'tidegate reload');
    });

    it('finds an expired certificate on disk', async () => {
      const now = new Date(Date.now() - 20 * 86_400_000);
      const { problems, find } = await examineWithCertificate('old', { days: 10, now });
      assert.deepEqual(problems, ['tls.served: warning', 'files.certificate: broken']);
      assert.match(find('files.certificate').fix ?? '', /renew it/);
    });

    it('finds CAs and secrets that serve would refuse, or of which it leaves something out', async () => {
      const mixed = path.join(folder, 'mixed.pem');
      const ca = await readFile(frontDoor.caPath, 'utf8');
      await writeFile(mixed, ca + ca);
      const left = await examine([`upstream.ca=${mixed}`]);
      assert.deepEqual(left.problems, ['files.content: warning']);
      assert.match(left.find('files.content').what, /mixed\.pem: not used: line \d+, the same certificate/);
      await writeFile(mixed, ca.slice(0, 200));
      const { problems, find } = await examine([`upstream.ca=${mixed}`]);
      assert.deepEqual(problems, ['files.content: broken', 'upstream.answer: broken']);
      assert.match(find('files.content').what, /mixed\.pem: the certificate on line 1 is damaged/);
      assert.match(find('files.content').fix ?? '', /put the file there again/);
    });

    /** With other certificate files in the configuration than those that are served. */
    const examineWithCertificate = async (name: string, lifetime: { days: number; now: Date }) => {
      const outDir = path.join(folder, name);
      await createCertificates({ outDir, hosts: ['localhost'], ips: ['127.0.0.1'], ...lifetime });
      const files = [`tls.cert=${outDir}/server.crt`, `tls.key=${outDir}/server.key`];
      const args = asFlags([...settings(), ...files]);
      return runDoctor([`https://127.0.0.1:${frontDoor.port}`, ...args, '--ca', frontDoor.caPath], {
        cwd: folder,
      });
    };

    it('asks where it listens when the name of the certificate does not resolve', async () => {
      const options = { upstreamUrl: registry.url, htpasswd: strongLine, hosts: ['registry.invalid'] };
      const other = await startFrontDoor(options);
      const own = [`listen.port=${other.port}`, 'cache.driver=memory'];
      const files = [`tls.cert=${other.dir}/certs/server.crt`, `tls.key=${other.dir}/certs/server.key`];
      const { url, problems, find } = await runDoctor(asFlags([...settings(), ...own, ...files]), {
        cwd: folder,
      });
      await other.stop();
      assert.equal(url, `https://registry.invalid:${other.port}`);
      assert.deepEqual(problems, ['dns: warning']);
      for (const check of ['tls.name', 'password.right', 'upload.location'])
        assert.equal(find(check).state, 'ok');
    });

    it('pushes nothing that the registry would not delete', async () => {
      const keeping = await startRegistry({ deletes: false });
      const other = await startFrontDoor({ upstreamUrl: keeping.url });
      const url = `https://127.0.0.1:${other.port}`;
      const { problems, find } = await runDoctor([url, '--ca', other.caPath], { cwd: folder });
      const stored = await readdir(path.join(keeping.storageDir, 'docker/registry/v2'));
      await other.stop();
      await keeping.stop();
      assert.deepEqual(problems, []);
      assert.equal(find('upload.cancel').state, 'ok');
      for (const check of ['blob.push', 'blob.read', 'blob.delete'])
        assert.equal(find(check).state, 'skipped');
      assert.deepEqual(stored, ['repositories']);
    });

    it('names every problem of a configuration, and looks at the rest', async () => {
      const { problems, find } = await examine(['listen.prot=1', 'cache.driver=disk']);
      assert.deepEqual(
        problems.filter((problem) => !problem.startsWith('tls.chain')), // whose CA the configuration would have named
        ['config: broken'],
      );
      assert.match(find('config').what, /has 2 problems: .*listen\.prot.*cache\.driver/);
    });

    it('finds a password in a configuration file that everyone can read', async () => {
      const configPath = path.join(folder, 'tidegate.yml');
      const secret = 'hunter2-of-the-registry';
      await writeFile(configPath, `upstream:\n  username: u\n  password: ${secret}\n`, { mode: 0o644 });
      const args = [`https://127.0.0.1:${frontDoor.port}`, '--config', configPath, ...asFlags(settings())];
      const literal = await runDoctor(args, { cwd: folder });
      assert.deepEqual(literal.problems, ['files.config: broken']);
      assert.doesNotMatch(JSON.stringify(literal.findings), new RegExp(secret));
      await writeFile(configPath, `upstream:\n  username: u\n  password: _env:PW:none\n`);
      assert.deepEqual((await runDoctor(args, { cwd: folder })).problems, []);
    });

    describe(
      'with a registry on all addresses',
      { skip: outerAddresses().length === 0 && 'this machine has no address but loopback' },
      () => {
        let relay: Server;
        before(async () => {
          const { port } = new URL(registry.url);
          relay = createServer((client) => {
            const target = connect(Number(port), '127.0.0.1');
            for (const socket of [client, target]) {
              socket.on('error', () => {});
              socket.on('close', () => {
                client.destroy();
                target.destroy();
              });
            }
            client.pipe(target).pipe(client);
          }).listen(0, '0.0.0.0');
          await once(relay, 'listening');
        });
        afterEach(() => redis.admin.config('SET', 'bind', '127.0.0.1'));
        after(() => relay.close());

        it('finds a Redis that others can write to', async () => {
          await redis.admin.config('SET', 'bind', '0.0.0.0');
          const { problems, find } = await examine();
          assert.deepEqual(problems, ['redis.exposed: broken']);
          assert.match(find('redis.exposed').fix ?? '', /bind 127\.0\.0\.1/);
        });

        it('finds an admin listener that is open though it should not be', async () => {
          const server = createHttpServer((_, response) => response.end('{}')).listen(0, '0.0.0.0');
          await once(server, 'listening');
          const { port } = server.address() as AddressInfo;
          const look = async (host: string) => {
            const deadline = new AbortController().signal;
            const checks = createAdminChecks({ host, port });
            const findings = await runChecks(checks, { deadline, onStart: () => {} });
            return findings.map(({ check, state }) => `${check}: ${state}`);
          };
          assert.deepEqual(await look('127.0.0.1'), ['admin.ready: ok', 'admin.exposed: broken']);
          assert.deepEqual(await look('0.0.0.0'), ['admin.ready: ok', 'admin.exposed: warning']);
          server.close();
          server.closeAllConnections();
          assert.deepEqual(await look('127.0.0.1'), ['admin.ready: warning', 'admin.exposed: skipped']);
        });

        it('finds the way around the front door', async () => {
          const { port } = relay.address() as AddressInfo;
          const { problems, find } = await examine([`upstream.url=http://127.0.0.1:${port}`]);
          assert.deepEqual(problems, ['upstream.exposed: broken']);
          assert.match(find('upstream.exposed').what, /without a password/);
          assert.match(find('upstream.exposed').fix ?? '', /127\.0\.0\.1/);
        });
      },
    );
  },
);

describe('tidegate doctor on a terminal', { skip: unlessInstalled('docker-registry', 'script') }, () => {
  it('asks for the password without showing it, and says what it is at', async () => {
    const registry = await startRegistry();
    const frontDoor = await startFrontDoor({ upstreamUrl: registry.url });
    const url = `https://127.0.0.1:${frontDoor.port}`;
    const command = `'${process.execPath}' '${mainPath}' doctor ${url} --ca '${frontDoor.caPath}' --user alice`;
    const { code, stdout } = await run('script', ['-q', '-e', '-c', command, '/dev/null'], {
      input: `${password}\r`,
      cwd: frontDoor.dir,
      env: { NO_COLOR: undefined },
    });
    await frontDoor.stop();
    await registry.stop();
    assert.equal(code, 0, stdout);
    assert.match(stdout, /Password of alice: \r?\n/);
    assert.match(stdout, /\r\u001B\[Klooking at tls\.handshake …/);
    assert.match(stdout, /\u001B\[32mok {5}\u001B\[0m {2}password\.right/);
    assert.ok(!stdout.split('Password of alice')[1]?.includes(password));
  });
});

describe('tidegate doctor as a command', () => {
  const cases: [string, string[], RegExp][] = [
    ['http', ['http://localhost'], /https:\/\/HOST/],
    ['a path', ['https://localhost/v2/'], /https:\/\/HOST/],
    ['a name and password', ['https://alice:secret@localhost'], /https:\/\/HOST/],
    ['a wildcard', ['https://*.example.com'], /wildcard/],
    ['a port that is none', ['https://localhost:70000'], /https:\/\/HOST/],
    ['two addresses', ['https://a.example', 'https://b.example'], /too many arguments/],
    ['a password without a user', ['--password-stdin'], /needs --user/],
    ['a user without a password', ['--user', 'alice'], /no password was given.*--password-stdin/],
    ['half a client certificate', ['--client-cert', 'a.crt'], /belong together/],
    ['a repository that is none', ['--repository', '../x'], /lower case/],
    ['a user name that is none', ['--user', 'a:b', '--password-stdin'], /colon/],
  ];
  for (const [name, args, said] of cases) {
    it(`takes ${name} for wrong usage`, async () => {
      const { code, stdout, stderr } = await tidegate(['doctor', ...args]);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, said);
    });
  }

  it('exits with 1 when a named CA cannot be used', async () => {
    const { code, stderr } = await tidegate(['doctor', 'https://localhost:1', '--ca', '/nowhere.pem']);
    assert.equal(code, 1);
    assert.match(stderr, /^\/nowhere\.pem does not exist: .*\n$/);
  });
});
