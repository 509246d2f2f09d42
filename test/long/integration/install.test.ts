import assert from 'node:assert/strict';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createImage, type Image } from '../../support/image.ts';
import { until } from '../../support/redis.ts';
import { openMachine, unlessMachine, type Machine } from '../../support/machine.ts';
import { root, run } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';

/** What is in a release besides the built program. */
const shipped = [
  'package.json',
  'package-lock.json',
  'config',
  'deploy',
  'docs',
  'LICENSE',
  'README.md',
  'dist',
];
const skip =
  unlessInstalled(
    ...[
      'docker-registry',
      'redis-server',
      'skopeo',
      'curl',
      'openssl',
      'tar',
      'ip',
      'unshare',
      'nsenter',
      'setpriv',
      'strace',
    ],
  ) || unlessMachine();

/** What a checkout may hold besides, of its own. */
const ownSecrets = [
  ...['config/htpasswd', 'config/tokens.yml', 'config/tidegate.yml'],
  ...['deploy/.env', 'deploy/kubernetes/secrets/key'],
];

/** Where the command lines are that an installation has started. */
const commandLines = '/run/command-lines';

/** A user that may do anything but be root, as everyone's shell is. */
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const;

/** What Tidegate and its cleaner go on writing: what was used, what there is, and which front doors there are. */
const isRecord =
  /^var\/lib\/(?:tidegate\/(?:usage|tokens\.used)|tidegate-registry\/tidegate-clean\/doors\.json)/;

describe('deploy/install.sh', { skip }, () => {
  let machine: Machine;
  let image: Image;
  let untouched: Map<string, string>;
  let release: string;
  let installer: string;
  before(async () => {
    release = await mkdtemp(path.join(tmpdir(), 'tidegate-release-'));
    installer = `${release}/deploy/install.sh`;
    for (const name of [...shipped, 'node_modules']) {
      await cp(`${root}${name}`, `${release}/${name}`, { recursive: true, verbatimSymlinks: true });
    }
    for (const name of ownSecrets) {
      await mkdir(path.dirname(`${release}/${name}`), { recursive: true });
      await writeFile(`${release}/${name}`, 'secret');
    }
    await chmod(release, 0o755);
    const pruned = await run('npm', ['prune', '--omit=dev', '--offline', '--ignore-scripts', '--no-audit'], {
      cwd: release,
    });
    assert.equal(pruned.code, 0, pruned.stderr);
    machine = await openMachine();
    image = await createImage({ layerCount: 1, layerBytes: 3_000_000 });
    untouched = await machine.snapshot();
  });
  after(async () => {
    await machine.close();
    await image.remove();
    await rm(release, { recursive: true });
  });

  const install = (...args: string[]) => machine.run('sh', [installer, ...args]);
  const installed = async (...args: string[]) => {
    const { code, stdout, stderr } = await install('--no-packages', ...args);
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    await machine.orders().then((orders) => (lastOrders = orders));
    return stdout;
  };
  let lastOrders: string[] = [];
  /** What came, went or changed, by path. */
  const differences = (from: Map<string, string>, to: Map<string, string>) =>
    [...new Set([...from.keys(), ...to.keys()])].filter((name) => from.get(name) !== to.get(name)).sort();
  const curl = async (...args: string[]) => {
    const ca = ['--cacert', '/etc/tidegate/certs/ca.crt', '--connect-to', '::127.0.0.1:443'];
    const options = ['--silent', '--show-error', '--noproxy', '*', '--output', '/dev/null'];
    const { stdout, stderr } = await machine.run('curl', [...options, ...ca, ...args]);
    return stdout || stderr;
  };
  const status = (url: string, ...args: string[]) => curl('--write-out', '%{http_code}', ...args, url);
  const skopeo = async (...args: string[]) => {
    const done = await machine.run('skopeo', args, {
      env: { HOME: '/run', XDG_RUNTIME_DIR: '/run', NO_PROXY: '*' },
    });
    await machine.run('rm', ['-rf', '/var/lib/containers']); // its cache, as root always there
    return done;
  };
  const copyArgs = (side: 'src' | 'dest') => [
    `--${side}-cert-dir=/run/trust`,
    `--${side}-creds=admin:${password}`,
  ];
  let password = '';

  it('says what it would do, and does nothing, with --dry-run', async () => {
    const { code, stdout, stderr } = await machine.run(nobody[0], [
      ...nobody.slice(1),
      ...['sh', installer, '--dry-run', '--host', 'registry.test'],
    ]);
    assert.deepEqual([code, stderr], [0, '']);
    for (const part of [
      '/etc/tidegate/config/tidegate.yml',
      '/etc/systemd/system/tidegate.service',
      'useradd',
      '/opt/tidegate',
    ])
      assert.match(stdout, new RegExp(`^would .*${part}`, 'm'), stdout);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
    assert.deepEqual(await machine.orders(), []);
  });

  const refusals: [string, string[], number, RegExp][] = [
    ['an unknown option', ['--prot', '443'], 2, /no option --prot/],
    ['an option without its value', ['--host'], 2, /--host needs a value/],
    ['a port that is none', ['--port', '65536'], 2, /65536 is not a port/],
    ['a storage that is no plain path', ['--registry-storage', '/srv/../etc'], 2, /plain absolute path/],
    ['the root as storage', ['--registry-storage', '/srv'], 2, /a folder below another/],
    ['a host with a command in it', ['--host', 'a;reboot'], 2, /names and addresses/],
    ['--purge alone', ['--purge'], 2, /goes with --undo/],
    [
      'a Node that is not there',
      ['--node', '/nonexistent/node'],
      1,
      /needs Node 20\.19 or newer, and there is no/,
    ],
  ];
  for (const [what, args, code, sentence] of refusals) {
    it(`refuses ${what}`, async () => {
      const done = await install(...args);
      assert.match(done.stderr, sentence);
      assert.equal(done.code, code);
    });
  }

  it('refuses a Node that is too old, and one in a home directory, each in one sentence', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-old-node-'));
    await writeFile(path.join(dir, 'node'), '#!/bin/sh\n[ "$1" = -p ] && echo 18.20.4 || exit 1\n', {
      mode: 0o755,
    });
    const done = await install('--node', `${dir}/node`);
    assert.equal(done.code, 1);
    assert.match(
      done.stderr,
      /^Tidegate needs Node 20\.19 or newer, and \S+ is 18\.20\.4: install it [^\n]*\n$/,
    );
    await rm(dir, { recursive: true });
    await machine.run('sh', [
      '-c',
      'mount -t tmpfs tmpfs /root && ln "$(command -v node)" /root/node 2>/dev/null || cp "$(command -v node)" /root/node',
    ]);
    const hidden = await install('--node', '/root/node');
    await machine.run('umount', ['/root']);
    assert.equal(hidden.code, 1);
    assert.match(hidden.stderr, /^\/root\/node lies in a home directory/);
  });

  it('refuses an ordinary user, and a machine without systemd', async () => {
    const ordinary = await machine.run(nobody[0], [...nobody.slice(1), 'sh', installer]);
    assert.deepEqual([ordinary.code, ordinary.stdout], [1, '']);
    assert.match(ordinary.stderr, /run it as root/);
    await machine.run('rmdir', ['/run/systemd/system']);
    const without = await install();
    await machine.run('mkdir', ['/run/systemd/system']);
    assert.equal(without.code, 1);
    assert.match(without.stderr, /systemd does not run here/);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
  });

  it('refuses a port that is taken', async () => {
    // In the background of a shell: it ends with the machine's processes.
    await machine.run('sh', [
      '-c',
      'redis-server --port 5000 --save "" --daemonize yes --dir /run --pidfile /run/other.pid >/dev/null',
    ]);
    const { code, stderr } = await install('--no-packages');
    await machine.run('redis-cli', ['-p', '5000', 'shutdown', 'nosave']);
    assert.equal(code, 1);
    assert.match(stderr, /Port 5000 is taken by another program.*--registry-port/);
  });

  /** What it makes up, each with its name. */
  const readSecrets = async (stdout: string) => {
    const read = async (file: string) => (await machine.run('cat', [file])).stdout;
    const find = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? assert.fail(String(pattern));
    return {
      'the first password': find(stdout, /^password: (\S{20,})$/m),
      "Redis's password": find(
        await read('/etc/tidegate/config/tidegate.yml'),
        /^ +password: ([0-9a-f]{64})$/m,
      ),
      'http.secret': find(await read('/etc/tidegate/registry.yml'), /^ +secret: ([0-9a-f]{64})$/m),
    };
  };

  it('puts no secret into the command line of any program that it starts', async () => {
    // Without the services, which would be slow under strace; their command lines are looked at below.
    const strace = ['-f', '-qq', '-e', 'trace=execve,execveat', '-e', 'signal=none', '-s', '65536'];
    const command = ['sh', installer, '--no-packages', '--no-start', '--host', 'registry.test'];
    const done = await machine.run('strace', [...strace, '-o', commandLines, ...command]);
    assert.equal(done.code, 0, done.stderr);
    const started = (await machine.run('cat', [commandLines])).stdout;
    for (const program of ['sed', 'install', 'node'])
      assert.match(started, new RegExp(`execve\\("[^"]*/${program}"`), program);
    for (const [what, secret] of Object.entries(await readSecrets(done.stdout)))
      for (const line of started.split('\n')) assert.ok(!line.includes(secret), `${what}: ${line}`);
    const undone = await install('--undo', '--purge');
    assert.equal(undone.code, 0, undone.stderr);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
    await machine.orders();
  });

  it('sets up registry, Redis and Tidegate, and they run with no more rights than they need', async () => {
    const stdout = await installed('--host', 'registry.test');
    assert.match(stdout, /^Tidegate runs at https:\/\/registry\.test$/m);
    assert.match(stdout, /\ndocker login registry\.test\n$/);
    assert.match(stdout, /^user: admin$/m);
    password = /^password: (\S{20,})$/m.exec(stdout)?.[1] ?? assert.fail(stdout);
    for (const unit of ['tidegate-redis', 'tidegate-registry', 'tidegate-clean', 'tidegate']) {
      assert.ok(lastOrders.some((order) => order.startsWith('enable ') && order.includes(`${unit}.service`)));
    }
    // Root's secrets are for root and the one service that needs each.
    const now = await machine.snapshot();
    const expectMode = (name: string, mode: string) =>
      assert.ok(now.get(name)?.startsWith(mode), `${name} ${now.get(name) ?? ''}`);
    expectMode('etc/tidegate/certs/server.key', '-rw-r----- root tidegate');
    expectMode('etc/tidegate/certs/ca.key', '-rw------- root root');
    expectMode('etc/tidegate/config/htpasswd', '-rw-r----- root tidegate');
    expectMode('etc/tidegate/config/tokens.yml', '-rw-r----- root tidegate');
    expectMode('etc/tidegate/config/tidegate.yml', '-rw-r----- root tidegate');
    expectMode('etc/tidegate/redis.acl', '-rw-r----- root tidegate-redis');
    expectMode('etc/tidegate/registry.yml', '-rw-r----- root tidegate-registry');
    expectMode('var/lib/tidegate-registry', 'drwxr-x--- tidegate-registry tidegate-registry');
    for (const [name, description] of now) {
      if (untouched.has(name) || name.startsWith('var/')) continue;
      assert.doesNotMatch(description, /^[^l].{7}w/, `${name} can be written to by others`);
      assert.match(description, /^\S+ root /, `${name} belongs to root`);
    }
    assert.ok(!now.has('opt/tidegate/node_modules/typescript'), 'nothing of development is installed');
    assert.ok(now.has('opt/tidegate/deploy/redis.conf'));
    for (const name of ownSecrets) assert.ok(!now.has(`opt/tidegate/${name}`), name);
    const who = await machine.processes();
    assert.match(who, /^tidegate +\S*node \/opt\/tidegate\/dist\/main\.js serve/m);
    assert.match(who, /^tidegate-registry +\S*docker-registry serve/m);
    assert.match(who, /^tidegate-registry +\S*node \/opt\/tidegate\/dist\/main\.js clean serve/m);
    assert.match(who, /^tidegate-redis +\S*redis-server/m);
    for (const [what, secret] of Object.entries(await readSecrets(stdout)))
      assert.ok(!who.includes(secret), what);
  });

  it('what it set up works: users, pushes, pulls, the cache in Redis, layers from the files', async () => {
    assert.equal(await status('https://registry.test/v2/'), '200');
    assert.equal(await status('https://registry.test/v2/_catalog'), '401');
    assert.equal(await status('https://registry.test/v2/_catalog', '--user', `admin:${password}`), '200');
    await machine.run('sh', [
      '-c',
      'echo 127.0.0.1 registry.test >>/etc/hosts; mkdir -p /run/trust; cp /etc/tidegate/certs/ca.crt /run/trust/',
    ]);
    const pushed = await skopeo(
      'copy',
      ...copyArgs('dest'),
      `docker-archive:${image.archivePath}`,
      'docker://registry.test/team/app:1',
    );
    assert.equal(pushed.code, 0, pushed.stderr);
    const pulled = await skopeo(
      'copy',
      ...copyArgs('src'),
      'docker://registry.test/team/app:1',
      'dir:/run/pulled',
    );
    assert.equal(pulled.code, 0, pulled.stderr);
    const manifest = 'https://registry.test/v2/team/app/manifests/1';
    const accept = 'Accept: application/vnd.docker.distribution.manifest.v2+json';
    const cached = ['--user', `admin:${password}`, '--header', accept, '--write-out', '%header{x-cache}'];
    // Redis is not used before it has been seen to work for a while.
    await until('a manifest comes from Redis', async () => (await curl(...cached, manifest)) === 'HIT');
    const log = await machine.run('cat', ['/run/units/tidegate.log']);
    // A busy machine may answer late, and be back.
    const said = (text: string) => log.stdout.split(text).length - 1;
    assert.equal(said('Redis cannot be used'), said('Redis is back'));
    assert.match(log.stdout, /"route":"blob"[^\n]*"source":"storage"/);
    // Past Tidegate there is a password as well, or the address of this machine alone.
    const redis = await machine.run('redis-cli', ['-p', '6390', 'keys', '*']);
    assert.match(redis.stdout, /NOAUTH/);
    const sockets = await machine.run('ss', ['-ltnH']);
    for (const port of ['5000', '6390']) assert.match(sockets.stdout, new RegExp(`127\\.0\\.0\\.1:${port} `));
    assert.doesNotMatch(sockets.stdout, /(\*|0\.0\.0\.0|\[::\]):(5000|6390) /);
  });

  it('the command that it leaves works from anywhere', async () => {
    const added = await machine.run('tidegate', ['user', 'add', 'alice'], { input: 'sesame\n' });
    assert.equal(added.code, 0, added.stderr);
    const listed = await machine.run('tidegate', ['user', 'list']);
    assert.match(listed.stdout, /^admin +bcrypt[^]*^alice +bcrypt/m);
    const made = await machine.run('tidegate', ['token', 'create', 'ci', '--expires', '1d']);
    assert.equal(made.code, 0, made.stderr);
    const asMachine = ['--user', `ci:${made.stdout.trim()}`];
    await until(
      'the machine token is good',
      async () => (await status('https://registry.test/v2/_catalog', ...asMachine)) === '200',
    );
    const checked = await machine.run('tidegate', ['config', 'check']);
    assert.match(checked.stdout, /^ok\nfile: \/etc\/tidegate\/config\/tidegate\.yml\n/);
    assert.doesNotMatch(checked.stdout, /missing/);
    const stats = await machine.run('tidegate', ['cache', 'stats']);
    assert.equal(stats.code, 0, stats.stderr);
  });

  it('the cleaner takes a tag away, and brings it back', async () => {
    const tidegate = async (...args: string[]) => {
      const { code, stdout, stderr } = await machine.run('tidegate', args);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.match(await tidegate('clean', 'status'), /^Front doors: process \d+ on /m);
    assert.match(await tidegate('clean', 'plan'), /^Goes: nothing\.$/m);
    assert.match(await tidegate('tag', 'remove', 'team/app:1'), /^Removed team\/app:1\./);
    assert.match(await tidegate('clean', 'undo'), /^Brought back from /);
  });

  it(
    'logrotate turns over log files, and tells the main process',
    { skip: unlessInstalled('logrotate') },
    async () => {
      const log = '/var/log/tidegate/access.log';
      const own = 'install -m 640 -o tidegate -g tidegate';
      await machine.run('sh', ['-ec', `echo line | ${own} /dev/stdin ${log}`]);
      await machine.orders();
      const args = ['--force', '--state', '/run/logrotate.state', '/etc/logrotate.d/tidegate'];
      const rotated = await machine.run('logrotate', args);
      assert.deepEqual([rotated.code, rotated.stderr], [0, '']);
      assert.deepEqual(await machine.orders(), ['kill --signal=USR1 --kill-who=main tidegate.service']);
      const { stdout } = await machine.run('sh', ['-c', 'cd /var/log/tidegate; grep -H . *; rm -f access*']);
      assert.equal(stdout, 'access.log.1:line\n');
    },
  );

  it('run again, it changes nothing and interrupts nothing', async () => {
    const before = await machine.snapshot();
    const stdout = await installed();
    assert.doesNotMatch(stdout, /^password:/m);
    const changed = differences(before, await machine.snapshot());
    assert.deepEqual(
      changed.filter((name) => !isRecord.test(name)),
      [],
    );
    assert.deepEqual(
      lastOrders.filter((order) => /restart|reload |stop/.test(order)),
      [],
    );
  });

  it('run again with a further name, it renews the certificate under the same CA', async () => {
    const before = await machine.snapshot();
    await installed('--host', 'registry.test,second.test');
    const changed = differences(before, await machine.snapshot());
    assert.deepEqual(
      changed.filter((name) => !isRecord.test(name)),
      ['etc/tidegate/certs/server.crt'],
    );
    assert.deepEqual(
      lastOrders.filter((order) => /restart|reload |stop/.test(order)),
      ['reload tidegate.service'],
    );
    const shown = await machine.run('tidegate', ['cert', 'show']);
    assert.match(shown.stdout, /names +registry\.test, second\.test/);
    await until('the new name is served', async () => (await status('https://second.test/v2/')) === '200');
  });

  it('does not move the images by itself', async () => {
    const { code, stderr } = await install(
      '--prebuilt',
      '--no-packages',
      '--registry-storage',
      '/var/lib/elsewhere',
    );
    assert.equal(code, 1);
    assert.match(stderr, /The images are in \/var\/lib\/tidegate-registry: to move them/);
  });

  it('--undo stops and removes it, but for settings, certificates, users and images', async () => {
    const before = await machine.snapshot();
    const { code, stderr } = await install('--undo');
    assert.equal(code, 0, stderr);
    const left = differences(untouched, await machine.snapshot());
    assert.deepEqual(
      left.filter(
        (name) => !/^(etc\/tidegate|var\/lib\/tidegate(-registry)?|var\/log\/tidegate)(\/|$)/.test(name),
      ),
      ['etc/group', 'etc/gshadow', 'etc/hosts', 'etc/passwd', 'etc/shadow'],
    );
    const now = await machine.snapshot();
    for (const [name, description] of before) {
      // The cleaner remembers which front doors have signed off.
      if (name.endsWith('tidegate-clean/doors.json')) continue;
      if (/^(etc\/tidegate|var\/lib\/tidegate-registry)\//.test(name))
        assert.equal(now.get(name), description, name);
    }
    assert.doesNotMatch(await machine.processes(), /dist\/main\.js|docker-registry|redis-server/);
  });

  it('set up once more, the same users and images are there', async () => {
    const stdout = await installed();
    assert.doesNotMatch(stdout, /^password:/m);
    const pulled = await skopeo(
      'copy',
      ...copyArgs('src'),
      'docker://registry.test/team/app:1',
      'dir:/run/again',
    );
    assert.equal(pulled.code, 0, pulled.stderr);
  });

  it('--undo --purge leaves the machine as it was', async () => {
    await machine.run('sh', ['-c', 'sed -i "/registry.test$/d" /etc/hosts']);
    const { code, stderr } = await install('--undo', '--purge');
    assert.equal(code, 0, stderr);
    assert.deepEqual(differences(untouched, await machine.snapshot()), []);
  });

  it('goes on with the images of another registry as their owner, and never removes them', async () => {
    const own = [
      'useradd --system --user-group --no-create-home images-owner',
      'install -d -m 755 -o images-owner -g images-owner /var/lib/images',
      'install -m 644 -o images-owner -g images-owner /dev/null /var/lib/images/precious',
    ];
    await machine.run('sh', ['-ec', own.join('\n')]);
    const before = await machine.snapshot();
    await installed('--registry-storage', '/var/lib/images', '--host', 'registry.test');
    const who = await machine.processes();
    assert.match(who, /^images-owner +\S*docker-registry serve/m);
    const { code, stderr } = await install('--undo', '--purge');
    assert.equal(code, 0, stderr);
    assert.deepEqual(differences(before, await machine.snapshot()), []);
    await machine.run('sh', ['-c', 'rm -r /var/lib/images; userdel images-owner']);
  });

  const fromApt = [
    'apt-get -q update',
    'apt-get -q -y install --no-install-recommends redis-server docker-registry',
  ];
  const fromDnf = ['dnf -y install redis docker-distribution'];
  const families = [
    {
      family: 'Debian',
      release: '',
      manager: 'apt-get',
      expected: fromApt,
      policy: 'rm -f /usr/sbin/policy-rc.d',
    },
    {
      ...{ family: 'Debian, where a policy forbids services anyway', release: '', manager: 'apt-get' },
      ...{ expected: fromApt, policy: 'rm -f /usr/sbin/policy-rc.d; echo own >/usr/sbin/policy-rc.d' },
    },
    {
      ...{ family: 'Rocky', release: 'ID="rocky"\nID_LIKE="rhel centos fedora"\n', manager: 'dnf' },
      ...{ expected: fromDnf, policy: 'true' },
    },
  ];
  for (const { family, release, manager, expected, policy } of families) {
    it(`has the package manager of ${family} install what is missing, without its services`, async () => {
      const hidden =
        '/usr/bin/docker-registry /usr/bin/redis-server /lib/systemd/system/docker-registry.service';
      // What /dev/null is mounted on is no program, until the package manager of this test takes it away.
      const script = [
        '#!/bin/sh',
        '[ "$2" = info ] || echo "${0##*/} $*" >>/run/packages.log',
        `case " $* " in *" install "*) ls /usr/sbin/policy-rc.d >>/run/policy.log 2>&1; umount ${hidden} ;; esac`,
      ];
      await machine.run('sh', ['-c', `cat >/run/stand-in/${manager}; chmod +x /run/stand-in/${manager}`], {
        input: script.join('\n') + '\n',
      });
      const os = release === '' ? '' : 'rm /etc/os-release; cat >/etc/os-release;';
      await machine.run(
        'sh',
        ['-ec', `${policy}; ${os} for each in ${hidden}; do mount --bind /dev/null "$each"; done`],
        {
          input: release,
        },
      );
      const before = await machine.snapshot();
      await machine.orders();
      const { code, stdout, stderr } = await install('--host', 'registry.test', '--no-start');
      assert.equal(code, 0, `${stderr}\n${stdout}`);
      assert.match(stdout, /^password: \S{20,}\n[^]*^Set up\. Start it with: systemctl enable --now /m);
      const { stdout: asked } = await machine.run('sh', [
        '-c',
        'cat /run/packages.log; rm /run/packages.log',
      ]);
      assert.deepEqual(asked.trimEnd().split('\n'), expected);
      const { stdout: policies } = await machine.run('sh', ['-c', 'cat /run/policy.log; rm /run/policy.log']);
      if (manager === 'apt-get') assert.equal(policies, '/usr/sbin/policy-rc.d\n');
      const [first] = await machine.orders();
      assert.equal(first, 'disable --now docker-registry.service');
      assert.equal((await install('--undo', '--purge')).code, 0);
      assert.deepEqual(differences(before, await machine.snapshot()), []);
    });
  }

  it('refuses images that belong to root, since no service runs as root', async () => {
    await machine.run('sh', ['-ec', 'mkdir /var/lib/images && touch /var/lib/images/precious']);
    const { code, stderr } = await install(
      '--prebuilt',
      '--no-packages',
      '--registry-storage',
      '/var/lib/images',
    );
    assert.equal(code, 1);
    assert.match(stderr, /belongs to root: give it to the registry's user first/);
  });
});
