import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addHubImage, hubUser, startHub, types, type Hub, type HubImage } from '../../support/hub.ts';
import { openMachine, unlessMachine, type Machine } from '../../support/machine.ts';
import { root } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { makeRelease, unpackRelease } from '../../support/releases.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const programs = [
  'docker-registry',
  'redis-server',
  'curl',
  'tar',
  'ip',
  'unshare',
  'nsenter',
  'setpriv',
  'strace',
];
const skip = unlessInstalled(...programs) || unlessMachine();
const settings = '/etc/tidegate/config/tidegate.yml';
const secretFile = '/run/mirror-credentials';

/** In a row: each test goes on where the one before has left the machine. */
describe('deploy/install.sh --mirror', { skip }, () => {
  let dir: string;
  let installer: string;
  let machine: Machine;
  let hub: Hub;
  let image: HubImage;
  let untouched: Map<string, string>;
  let password = '';
  let lastOrders: string[] = [];
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-install-'));
    await unpackRelease(await makeRelease(root, `${dir}/out`), `${dir}/release`);
    installer = `${dir}/release/deploy/install.sh`;
    machine = await openMachine();
    hub = await startHub({ within: machine.networkOnly });
    image = await addHubImage(hub, 'library/nginx', 'latest');
    untouched = await machine.snapshot();
  });
  after(async () => {
    await hub.stop();
    await machine.close();
    await rm(dir, { recursive: true });
  });

  const install = (...args: string[]) => machine.run('sh', [installer, '--no-packages', ...args]);
  const installed = async (...args: string[]) => {
    const { code, stdout, stderr } = await install(...args);
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    lastOrders = await machine.orders();
    return stdout;
  };
  const must = async (script: string, input = '') => {
    const { code, stdout, stderr } = await machine.run('sh', ['-ec', script], { input });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const differences = (from: Map<string, string>, to: Map<string, string>) =>
    [...new Set([...from.keys(), ...to.keys()])].filter((name) => from.get(name) !== to.get(name)).sort();
  const interruptions = () => lastOrders.filter((order) => /^(?:restart|reload|stop) /.test(order)).sort();
  const status = async (target: string) => {
    const { stdout } = await machine.run('curl', [
      ...[
        '--silent',
        '--noproxy',
        '*',
        '--cacert',
        '/etc/tidegate/certs/ca.crt',
        '--connect-to',
        '::127.0.0.1:443',
      ],
      ...['--user', `admin:${password}`, '--header', `Accept: ${types.manifest}`],
      ...['--output', '/dev/null', '--write-out', '%{http_code}', `https://registry.test/v2/${target}`],
    ]);
    return stdout;
  };
  const docker = () => `docker.io=${hub.url}`;
  const giveCredentials = (secret: string) =>
    must(`umask 077; cat >${secretFile}`, `# Docker Hub\ndocker.io ${hubUser.username} ${secret}\n`);

  const refusals: [what: string, args: string[], code: number, sentence: RegExp][] = [
    ['a URL as the name', ['--mirror', 'https://docker.io'], 2, /--mirror takes names of registries/],
    ['a URL with a path', ['--mirror', 'docker.io=https://a.test/b'], 2, /--mirror takes names/],
    ['a command in it', ['--mirror', 'docker.io=http://a;reboot'], 2, /--mirror takes names/],
    ['two of one name', ['--mirror', 'docker.io,hub.test'], 1, /hub\.test would be the route hub/],
    [
      'credentials that are not there',
      ['--mirror', 'docker.io', '--mirror-credentials', '/nonexistent'],
      1,
      /cannot be read/,
    ],
  ];
  for (const [what, args, code, sentence] of refusals) {
    it(`refuses ${what}`, async () => {
      const done = await install(...args);
      assert.match(done.stderr, sentence);
      assert.equal(done.code, code);
      assert.deepEqual(differences(untouched, await machine.snapshot()), []);
    });
  }

  it('refuses credentials that others can read, cannot be understood or are for another source', async () => {
    for (const [script, sentence] of [
      [`echo docker.io a b >${secretFile}; chmod 640 ${secretFile}`, /open to other users .*: chmod 600/],
      [`echo docker.io a >${secretFile}; chmod 600 ${secretFile}`, /line 1: write SOURCE USER PASSWORD/],
      [`echo quay.io a b >${secretFile}`, /has credentials for quay\.io, which is not mirrored/],
    ] as const) {
      await must(script);
      const { code, stderr } = await install('--mirror', docker(), '--mirror-credentials', secretFile);
      assert.equal(code, 1);
      assert.match(stderr, sentence);
    }
  });

  it('--dry-run says what it would do, and does nothing', async () => {
    const { code, stdout, stderr } = await install(
      '--dry-run',
      '--mirror',
      'docker.io',
      '--host',
      'registry.test',
    );
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^would write \/etc\/tidegate\/mirrors\/hub\.yml$/m);
    assert.match(stdout, /^would add the routes of the mirrors/m);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
  });

  it('sets a mirror up with the rest, and puts its credentials into no command line', async () => {
    const secret = `it's a "$\`&|\\ secret # no comment`;
    await giveCredentials(secret);
    const strace = ['-f', '-qq', '-e', 'trace=execve,execveat', '-e', 'signal=none', '-s', '65536'];
    const command = ['sh', installer, '--no-packages', '--no-start', '--host', 'registry.test'];
    const mirror = ['--mirror', docker(), '--mirror-credentials', secretFile];
    const done = await machine.run('strace', [...strace, '-o', '/run/command-lines', ...command, ...mirror]);
    assert.equal(done.code, 0, done.stderr);
    password = /^password: (\S{20,})$/m.exec(done.stdout)?.[1] ?? assert.fail(done.stdout);
    assert.doesNotMatch(await must('cat /run/command-lines'), /it's a|secret # no/);
    const { proxy } = await readMirror();
    assert.deepEqual(proxy, { remoteurl: hub.url, username: hubUser.username, password: secret });
    assert.match(await must(`cat ${settings}`), /\n\n# Further registries [^\n]+\nroutes:\n {2}- name: hub /);
  });

  it('takes new credentials, and starts the mirror again for them', async () => {
    await installed();
    await giveCredentials(hubUser.password);
    const stdout = await installed('--mirror-credentials', secretFile);
    assert.match(stdout, /^Mirror of docker\.io: images are at registry\.test\/hub\/…; /m);
    assert.deepEqual(interruptions(), ['restart tidegate-mirror@hub.service']);
  });

  const readMirror = async () => {
    const { stdout } = await machine.run(
      process.execPath,
      [
        '-e',
        "process.stdout.write(JSON.stringify(require('yaml').parse(require('fs').readFileSync('/etc/tidegate/mirrors/hub.yml', 'utf8'))))",
      ],
      { env: { NODE_PATH: '/opt/tidegate/node_modules' } },
    );
    return JSON.parse(stdout) as { proxy: unknown };
  };

  it('what it set up works: pulls with the credentials, layers from the files', async () => {
    assert.equal(await status('hub/library/nginx/manifests/latest'), '200');
    for (const digest of [image.configDigest, ...image.layerDigests])
      assert.equal(await status(`hub/library/nginx/blobs/${digest}`), '200');
    assert.deepEqual(new Set((await hub.requests()).map(({ name }) => name)), new Set([hubUser.username]));
    await until('a layer comes from its file', async () => {
      assert.equal(await status(`hub/library/nginx/blobs/${image.layerDigests[0]}`), '200');
      return /"route":"blob"[^\n]*"source":"storage"/.test(await must('cat /run/units/tidegate.log'));
    });
    assert.equal(await status('library/nginx/manifests/latest'), '404');
    const steps = await machine.run('tidegate', ['mirror', 'steps']);
    assert.match(steps.stdout, /docker pull registry\.test\/hub\/library\/nginx/);
  });

  it('runs as a user of its own, and keeps its secrets to it', async () => {
    assert.match(
      await machine.processes(),
      /^tidegate-mirror +\S*docker-registry serve \/etc\/tidegate\/mirrors\/hub\.yml/m,
    );
    assert.ok(!(await machine.processes()).includes(hubUser.password));
    const now = await machine.snapshot();
    assert.match(now.get('etc/tidegate/mirrors/hub.yml') ?? '', /^-rw-r----- root tidegate-mirror/);
    assert.match(now.get('var/lib/tidegate-mirror/hub') ?? '', /^drwxr-x--- tidegate-mirror tidegate-mirror/);
    const sockets = await must('ss -ltnH');
    assert.match(sockets, /127\.0\.0\.1:5001 /);
    assert.doesNotMatch(sockets, /(\*|0\.0\.0\.0|\[::\]):5001 /);
  });

  it('run again, it changes nothing and interrupts nothing', async () => {
    const before = await machine.snapshot();
    await installed('--mirror', docker());
    await installed();
    assert.deepEqual(
      differences(before, await machine.snapshot()).filter(
        (name) => !/^var\/lib\/tidegate(?:-mirror|\/usage|\/tokens\.used)/.test(name),
      ),
      [],
    );
    assert.deepEqual(interruptions(), []);
  });

  it('adds a second mirror, on a port of its own', async () => {
    await installed('--mirror', `quay.io=${hub.url}`);
    // The cleaner has a copy of the configuration.
    assert.deepEqual(interruptions(), ['reload tidegate.service', 'restart tidegate-clean.service']);
    await until('it serves', async () => (await status('quay/library/nginx/manifests/latest')) === '200');
    assert.equal(await status('hub/library/nginx/manifests/latest'), '200');
    assert.match(await must('ss -ltnH'), /127\.0\.0\.1:5002 /);
  });

  it('prints routes that it cannot add to the configuration', async () => {
    await must(
      `printf '\\nshutdown: { timeout: 5m }\\n' >>${settings}; sed -i '/^shutdown:$/,/^$/d' ${settings}`,
    );
    const before = await must(`cat ${settings}`);
    const stdout = await installed('--mirror', `ghcr.io=${hub.url}`);
    assert.match(stdout, /^Add to \/etc\/tidegate\/config\/tidegate\.yml[^\n]+\nroutes:\n {2}- name: ghcr /m);
    assert.equal(await must(`cat ${settings}`), before);
  });

  it('--undo stops the mirrors and keeps what is theirs; set up once more, all is there', async () => {
    const { code, stdout, stderr } = await install('--undo');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /\/var\/lib\/tidegate-mirror {2}images of the mirrors/);
    assert.doesNotMatch(await machine.processes(), /docker-registry|mirror\.sh/);
    await hub.be({ away: true });
    await installed();
    await until(
      'it serves what it has',
      async () => (await status('hub/library/nginx/manifests/latest')) === '200',
    );
  });

  it('--undo --purge leaves the machine as it was', async () => {
    const { code, stderr } = await install('--undo', '--purge');
    assert.equal(code, 0, stderr);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
  });
});
