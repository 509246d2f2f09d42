import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/load/load.ts';
import { startHub } from '../../support/hub.ts';
import { root, run } from '../../support/processes.ts';
import { tryRegistryConfig } from '../../support/registry-config.ts';
import { checkRedisCommand } from '../../support/redis-command.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const deploy = `${root}deploy/`;
const read = (file: string) => readFile(deploy + file, 'utf8');
const longestShutdownMs = (config: { shutdown: { timeout: number } }) => config.shutdown.timeout;

describe('configurations of deploy/', () => {
  const load = (file: string) =>
    loadConfig({
      configPath: deploy + file,
      flavor: undefined,
      set: [],
      env: { REDIS_PASSWORD: 'secret' },
      cwd: '/',
    });

  it('the one that is installed is accepted, and names the registry, the Redis and the user of the files beside it', async () => {
    const { config } = await load('tidegate.yml');
    const registry = parse(await read('registry/filesystem.yml')) as RegistryConfig;
    assert.equal(config.upstream.url, `http://${registry.http.addr}`);
    assert.equal(config.upstream.storage, registry.storage.filesystem?.rootdirectory);
    const rights = /^# user tidegate on >CHANGE-ME (.*)$/m.exec(await read('redis.conf'))?.[1];
    assert.ok((await read('install.sh')).includes(`\nuser tidegate on #$hash ${rights ?? assert.fail()}\n`));
    assert.equal(config.cache.redis.username, 'tidegate');
    assert.equal(config.cache.redis.keyPrefix, 'tidegate:');
  });

  it("that of Kubernetes' pods is accepted, with its password from the environment", async () => {
    const { config } = await load('kubernetes/tidegate.yml');
    assert.equal(config.cache.redis.password, 'secret');
    assert.equal(config.upstream.storage, null);
  });

  it('every variable that image, compose file and manifests set is one of Tidegate', async () => {
    const texts = await Promise.all(
      ['Dockerfile', 'compose.yml', 'compose.acme.yml', 'kubernetes/tidegate.yaml'].map(read),
    );
    const names = [...texts.join('\n').matchAll(/\b(TIDEGATE_[A-Z_]+)(?::|=|, value:)\s*("?)([^\s\\},]+)/g)];
    assert.ok(names.length >= 8);
    // Those that say ${NAME:?…} get theirs from elsewhere.
    const env = Object.fromEntries(
      names.map(([, name = '', , value = '']) => [
        name,
        value.startsWith('${') ? 'x.example.com' : value.replaceAll("'", ''),
      ]),
    );
    await loadConfig({ configPath: undefined, flavor: undefined, set: [], env, cwd: '/' });
  });

  it('every service manager waits longer for the end than Tidegate does', async () => {
    const { config: installed } = await load('tidegate.yml');
    const unit = Number(/^TimeoutStopSec=(\d+)$/m.exec(await read('tidegate.service'))?.[1]);
    const { config: byDefault } = await loadConfig({
      ...{ configPath: undefined, flavor: undefined, set: [], env: {}, cwd: '/' },
    });
    assert.ok(unit * 1000 > Math.max(longestShutdownMs(installed), longestShutdownMs(byDefault)));
    const compose = await read('compose.yml');
    const minutes = (pattern: RegExp) => Number(pattern.exec(compose)?.[1]);
    assert.ok(minutes(/stop_grace_period: (\d+)m/) > minutes(/TIDEGATE_SHUTDOWN_TIMEOUT: (\d+)m/));
    const { config: pod } = await load('kubernetes/tidegate.yml');
    const manifest = await read('kubernetes/tidegate.yaml');
    const graceS = Number(/terminationGracePeriodSeconds: (\d+)/.exec(manifest)?.[1]);
    const sleepS = Number(/command: \[sleep, '(\d+)'\]/.exec(manifest)?.[1]);
    assert.ok(graceS * 1000 > longestShutdownMs(pod) + sleepS * 1000);
  });
});

type RegistryConfig = {
  http: { addr: string; secret: string };
  storage: { filesystem?: { rootdirectory: string }; delete: { enabled: boolean } };
};

describe('registry configurations of deploy/', { skip: unlessInstalled('docker-registry') }, () => {
  const fromKubernetes = async () => {
    const [configMap = ''] = (await read('kubernetes/registry.yaml')).split('\n---\n');
    return (parse(configMap) as { data: { 'config.yml': string } }).data['config.yml'];
  };
  const inFolder = {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: 'STORAGE',
    REGISTRY_HTTP_ADDR: '127.0.0.1:0',
  };
  const s3 = {
    ...{ REGISTRY_HTTP_ADDR: '127.0.0.1:0', REGISTRY_STORAGE_S3_REGIONENDPOINT: 'http://127.0.0.1:1' },
    // A bundle of CAs that this machine may have for others is none of its.
    ...{ AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key', AWS_CA_BUNDLE: '' },
  };
  const kinds: [string, () => Promise<string>, Record<string, string>, number][] = [
    ['on a disk', () => read('registry/filesystem.yml'), inFolder, 200],
    ['in Kubernetes', fromKubernetes, inFolder, 200],
    ['in S3, of which there is none here', () => read('registry/s3.yml'), s3, 200],
  ];
  for (const [name, text, env, status] of kinds) {
    it(`a real registry takes the one ${name}`, async () => {
      assert.equal(await tryRegistryConfig(await text(), env), status);
    });
  }

  it('a real registry takes the one of a mirror', async () => {
    const hub = await startHub();
    try {
      const env = { ...inFolder, REGISTRY_PROXY_REMOTEURL: hub.url };
      assert.equal(await tryRegistryConfig(await read('registry/mirror.yml'), env), 200);
    } finally {
      await hub.stop();
    }
  });

  it('those on one machine listen on loopback only, and let images be deleted', async () => {
    for (const name of ['filesystem', 's3', 'swift', 'mirror']) {
      const file = `registry/${name}.yml`;
      const config = parse(await read(file)) as RegistryConfig;
      assert.match(config.http.addr, /^127\.0\.0\.1:/);
      assert.equal(config.storage.delete.enabled, true);
    }
  });
});

describe('units of deploy/', { skip: unlessInstalled('systemd-analyze') }, () => {
  let dir = '';
  const units = [
    ...['tidegate.service', 'tidegate-registry.service', 'tidegate-redis.service'],
    ...['tidegate-clean.service', 'tidegate-mirror@.service'],
  ];
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-units-'));
    for (const unit of units) {
      // systemd looks for the programs: there is one in any case.
      const text = (await read(unit)).replace(/^(Exec(?:Start|Reload)=)\S+/gm, `$1${process.execPath}`);
      await writeFile(path.join(dir, unit), text);
    }
  });
  after(() => rm(dir, { recursive: true }));

  it('systemd finds nothing wrong with them', async () => {
    const paths = units.map((unit) => path.join(dir, unit));
    const { code, stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...paths]);
    // Other units of this machine are none of ours.
    const ours = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('tidegate'));
    assert.deepEqual([code, ours], [0, []]);
  });

  it('a wrong one would be found', async () => {
    const broken = path.join(dir, 'tidegate-broken.service');
    await writeFile(broken, (await read('tidegate.service')).replace('Type=notify', 'Type=notfy'));
    const { stderr } = await run('systemd-analyze', ['verify', '--man=no', broken]);
    assert.match(stderr, /notfy/);
  });

  for (const [unit, most] of [
    ['tidegate.service', 1.7],
    ['tidegate-registry.service', 0.9],
    ['tidegate-redis.service', 0.9],
    ['tidegate-clean.service', 0.4],
    ['tidegate-mirror@.service', 1.1],
  ] as const) {
    it(`${unit} has an exposure of at most ${most}, which is what the documentation says`, async () => {
      const { stdout } = await run('systemd-analyze', [
        'security',
        '--offline=true',
        '--no-pager',
        deploy + unit,
      ]);
      const exposure = Number(/Overall exposure level for \S+: (\d+\.\d)/.exec(stdout)?.[1]);
      assert.ok(exposure <= most, stdout);
      const page = await readFile(`${root}docs/operations/deployment.md`, 'utf8');
      assert.match(page, new RegExp(`\`${unit.replace('.', '\\.')}\` +\\| ${most}`));
    });
  }

  it('no service has a privilege but the one for port 443, and none runs as root', async () => {
    for (const unit of units) {
      const text = await read(unit);
      const port = unit === 'tidegate.service' ? 'CAP_NET_BIND_SERVICE' : '';
      assert.deepEqual(
        [...text.matchAll(/^CapabilityBoundingSet=(.*)$/gm)].map((match) => match[1]),
        [port],
      );
      assert.match(text, /^NoNewPrivileges=yes$/m);
      assert.match(text, /^User=tidegate/m);
    }
  });
});

describe('scripts of deploy/', { skip: unlessInstalled('shellcheck') }, () => {
  it('shellcheck finds nothing', async () => {
    const scripts = (await readdir(deploy))
      .filter((name) => name.endsWith('.sh'))
      .map((name) => deploy + name);
    assert.ok(scripts.length > 0);
    const { code, stdout } = await run('shellcheck', ['--shell=sh', ...scripts]);
    assert.deepEqual([code, stdout], [0, '']);
  });
});

type Service = {
  image: string;
  networks?: string[];
  network_mode?: string;
  ports?: string[];
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  command?: string[];
  healthcheck?: unknown;
  profiles?: string[];
  volumes?: string[];
};

describe('deploy/compose.yml', () => {
  const env = {
    REDIS_PASSWORD: 'r'.repeat(64),
    REGISTRY_HTTP_SECRET: 's'.repeat(64),
    COMPOSE_PROJECT_NAME: 'tidegate',
  };

  it(
    'docker-compose accepts it, and says so when a password is missing',
    { skip: unlessInstalled('docker-compose') },
    async () => {
      const config = (vars: NodeJS.ProcessEnv) =>
        run('docker-compose', ['--file', `${deploy}compose.yml`, 'config'], { env: vars, cwd: '/' });
      const accepted = await config(env);
      assert.equal(accepted.code, 0, accepted.stderr);
      const { services } = parse(accepted.stdout) as {
        services: Record<string, { environment: Record<string, string> }>;
      };
      assert.equal(services['tidegate']?.environment['TIDEGATE_CACHE_REDIS_PASSWORD'], env.REDIS_PASSWORD);
      const refused = await config({ ...env, REDIS_PASSWORD: undefined });
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /set it in \.env/);
    },
  );

  it(
    'with compose.acme.yml, port 80 leads in too, and redirects name the port outside',
    { skip: unlessInstalled('docker-compose') },
    async () => {
      const files = ['--file', `${deploy}compose.yml`, '--file', `${deploy}compose.acme.yml`];
      const vars = { ...env, ACME_HOSTS: 'registry.example.com' };
      const shown = await run('docker-compose', [...files, 'config'], { env: vars, cwd: '/' });
      assert.equal(shown.code, 0, shown.stderr);
      const { services } = parse(shown.stdout) as {
        services: Record<string, { environment: Record<string, unknown>; ports: { published: unknown }[] }>;
      };
      const { environment, ports } = services['tidegate'] ?? { environment: {}, ports: [] };
      assert.equal(environment['TIDEGATE_TLS_ACME_HOSTS'], 'registry.example.com');
      assert.equal(String(environment['TIDEGATE_LISTEN_PUBLIC_PORT']), '443');
      assert.deepEqual(ports.map(({ published }) => String(published)).sort(), ['443', '80']);
    },
  );

  it(
    'its Redis has its password, and no command line does',
    { skip: unlessInstalled('redis-server', 'docker-compose') },
    async () => {
      const shown = await run('docker-compose', ['--file', `${deploy}compose.yml`, 'config'], {
        env,
        cwd: '/',
      });
      const { services } = parse(shown.stdout) as { services: Record<string, Service> };
      for (const [name, { command = [], healthcheck }] of Object.entries(services))
        for (const secret of [env.REDIS_PASSWORD, env.REGISTRY_HTTP_SECRET])
          assert.ok(!JSON.stringify([command, healthcheck]).includes(secret), name);
      const [shell = '', ...args] = services['redis']?.command ?? [];
      await checkRedisCommand([shell, ...args.map((arg) => arg.replaceAll('$$', '$'))], {
        REDISCLI_AUTH: env.REDIS_PASSWORD,
      });
    },
  );

  it('only Tidegate can be reached, nothing may write or gain privileges, and images have a version', async () => {
    const { services, networks } = parse(await read('compose.yml')) as {
      services: Record<string, Service>;
      networks: Record<string, { internal?: boolean } | null>;
    };
    assert.deepEqual(Object.keys(services).sort(), ['clean', 'redis', 'registry', 'setup', 'tidegate']);
    assert.equal(networks['back']?.internal, true);
    for (const [name, service] of Object.entries(services)) {
      assert.deepEqual(service.cap_drop, ['ALL'], name);
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
      assert.equal(service.read_only, true, name);
      if (name !== 'tidegate') assert.equal(service.ports, undefined, name);
      if (service.image !== 'tidegate') {
        assert.match(service.image, /^[a-z]+:\d+\.\d+/, name);
        assert.deepEqual(service.networks, ['back'], name);
        assert.ok(service.healthcheck, name);
      }
    }
    assert.deepEqual(services['setup']?.profiles, ['setup']);
    assert.equal(services['clean']?.network_mode, 'none');
    assert.deepEqual(
      services['tidegate']?.volumes?.filter((volume) => !volume.endsWith(':ro')),
      ['usage:/var/lib/tidegate-state'],
    );
  });
});
