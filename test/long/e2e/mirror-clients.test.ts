import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { HubMood } from '../../support/hub-server.ts';
import { startContainerd, type Containerd } from '../../support/clients-containerd.ts';
import { createDockerClient, findDockerClis } from '../../support/clients-docker.ts';
import type { Client } from '../../support/clients.ts';
import {
  openEngineNamespace,
  unlessNamespaces,
  type EngineNamespace,
} from '../../support/engine-namespace.ts';
import { startEngine, type Engine } from '../../support/engine.ts';
import { basic, password, startFrontDoor, user, type FrontDoor } from '../../support/front-door.ts';
import {
  addHubImage,
  addHubIndex,
  startHub,
  startMirror,
  types,
  type Hub,
  type HubImage,
} from '../../support/hub.ts';
import { createImage, type Image } from '../../support/image.ts';
import { readStepCommands } from '../../support/mirror-steps.ts';
import { run, tidegate, type Finished } from '../../support/processes.ts';
import { until } from '../../support/redis.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { unlessInstalled } from '../../support/requirement.ts';

const [docker] = await findDockerClis();
const programs = [
  'docker-registry',
  'docker',
  'dockerd',
  'containerd',
  'ctr',
  'podman',
  'skopeo',
  'curl',
  'tar',
];
const skip = unlessInstalled(...programs, 'ip', 'unshare', 'nsenter') || unlessNamespaces();
const mirrorHost = 'hub.test';
type OciErrors = { readonly errors: readonly { readonly message: string }[] };
const well: HubMood = { away: false, silent: false, refusal: null, refuses: 'all', lie: null };

/**
 * Real clients, set up by the commands that `tidegate mirror steps` prints: they push to one registry and pull through
 * the other, a mirror of what plays Docker Hub.
 */
describe('clients with a mirror of Docker Hub', { skip, timeout: 550_000 }, () => {
  let namespace: EngineNamespace;
  let dir: string;
  let hub: Hub;
  let mirror: Registry;
  let registry: Registry;
  let frontDoor: FrontDoor;
  let engine: Engine;
  let containerd: Containerd;
  /** What `mirror steps` prints, as a script. */
  let steps: string;
  let client: Client;
  let own: Image;
  let app: HubImage;
  let index: { readonly digest: string; readonly images: readonly HubImage[] };
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'tidegate-mirror-clients-'));
    [namespace, own] = await Promise.all([openEngineNamespace(), createImage({ layerCount: 2 })]);
    const within = namespace.networkOnly;
    [hub, registry] = await Promise.all([startHub({ within }), startRegistry({ within })]);
    [app, index] = await Promise.all([
      addHubImage(hub, 'library/app', '1'),
      addHubIndex(hub, 'library/many', '1'),
    ]);
    await addReferrer(app);
    mirror = await startMirror(hub, { within });
    frontDoor = await startFrontDoor({
      upstreamUrl: registry.url,
      hosts: [namespace.host, mirrorHost],
      set: ['listen.host=0.0.0.0', 'listen.port=443', 'limits.routeSourceTimeout=1s'],
      config: configuration(),
      within,
    });
    await followSteps();
    [engine, containerd] = await Promise.all([
      startEngine(namespace),
      startContainerd({ namespace, caPath: frontDoor.caPath, image: own }),
    ]);
    client = await createDockerClient(docker ?? assert.fail('no docker'), {
      ...{ namespace, engine, ca: frontDoor.ca, image: own },
    });
    for (const tool of ['podman', 'skopeo']) await mkdir(`${dir}/${tool}`);
    await writeFile(
      `${dir}/auth.json`,
      JSON.stringify({ auths: { [namespace.host]: { auth: basic.slice(6) } } }),
    );
    await writeFile(`${dir}/no-auth.json`, '{}');
  });
  after(async () => {
    await client.cleanUp();
    for (const each of [frontDoor, registry, mirror, hub]) await each.stop();
    await namespace.close(); // which ends containerd and the engine
    await containerd.cleanUp();
    await engine.cleanUp();
    await own.remove();
    await rm(dir, { recursive: true, force: true });
  });

  const configuration = () => `
policy:
  - { who: ['network:192.0.2.0/24', authenticated], repositories: ['hub/**'], actions: [pull] }
  - { who: [authenticated], repositories: ['**'], actions: [pull, push] }
routes:
  - name: hub
    repositories: ['hub/**']
    stripPrefix: hub
    namespaces: [docker.io]
    hosts: [${mirrorHost}]
    readOnly: true
    upstream: { url: "${mirror.url}", storage: "${mirror.storageDir}" }
`;

  /** Sets the clients up as printed, in the /etc of the namespace. */
  const followSteps = async () => {
    const config = [
      '--config',
      path.join(frontDoor.dir, 'tidegate.yml'),
      '--set',
      `tls.cert=${frontDoor.dir}/certs/server.crt`,
    ];
    const printed = await tidegate(['mirror', 'steps', ...config, '--host', namespace.host]);
    assert.equal(printed.code, 0, printed.stderr);
    const mirrors = /\{ "registry-mirrors": .* \}/.exec(printed.stdout)?.[0] ?? assert.fail(printed.stdout);
    steps = readStepCommands(printed.stdout);
    const script = [
      steps,
      `echo '${namespace.address} ${mirrorHost}' >>/etc/hosts`,
      `echo '${mirrors}' >/etc/docker/daemon.json`,
    ];
    await inside('sh', '-ec', script.join('\n'));
  };
  const inside = async (...command: string[]) => {
    const done = await tryInside(...command);
    assert.equal(done.code, 0, `${command.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  const tryInside = (...command: string[]) => {
    const [file = '', ...args] = [...namespace.inside, ...command];
    return run(file, args, { env: { HOME: dir, XDG_RUNTIME_DIR: dir, NO_PROXY: '*' } });
  };
  const addReferrer = async (subject: HubImage) => {
    const config = await hub.addBlob(Buffer.from('{}'));
    const descriptor = (mediaType: string, digest: string, size: number) => ({ mediaType, digest, size });
    const manifest = {
      schemaVersion: 2,
      mediaType: types.ociManifest,
      config: descriptor('application/vnd.oci.empty.v1+json', config, 2),
      layers: [descriptor('application/vnd.oci.empty.v1+json', config, 2)],
    };
    const tag = `${subject.digest.replace(':', '-')}.sig`;
    await hub.addManifest({
      repository: subject.repository,
      tag,
      type: types.ociManifest,
      bytes: Buffer.from(JSON.stringify(manifest)),
    });
  };

  const podman = (...args: string[]) => {
    const storage = [
      '--root',
      `${dir}/podman/root`,
      '--runroot',
      `${dir}/podman/run`,
      '--storage-driver',
      'vfs',
    ];
    return tryInside('podman', ...storage, '--tmpdir', `${dir}/podman/tmp`, ...args);
  };
  const podmanPull = async (name: string, authFile = 'no-auth.json') => {
    await podman('rmi', '--all', '--force');
    return podman('pull', '--authfile', `${dir}/${authFile}`, name);
  };
  let copies = 0;
  const skopeoPull = (name: string, ...args: string[]) =>
    tryInside(
      'skopeo',
      'copy',
      '--src-authfile',
      `${dir}/no-auth.json`,
      ...args,
      `docker://${name}`,
      `dir:${dir}/skopeo/${(copies += 1)}`,
    );
  const ctrPull = async (name: string, ...args: string[]) => {
    await containerd.ctr('images', 'remove', '--sync', name);
    return containerd.ctr(
      'images',
      'pull',
      '--snapshotter',
      'native',
      '--hosts-dir',
      '/etc/containerd/certs.d',
      ...args,
      name,
    );
  };
  const dockerRun = (...args: string[]) =>
    run(docker?.path ?? '', ['--config', `${dir}/docker`, '--host', engine.url, ...args], {
      env: { DOCKER_HOST: undefined },
    });
  const dockerPull = async (name: string) => {
    await dockerRun('rmi', '--force', name);
    return dockerRun('pull', name);
  };
  const curl = (target: string, ...args: string[]) =>
    inside(
      'curl',
      '-sS',
      '--noproxy',
      '*',
      '--cacert',
      frontDoor.caPath,
      ...args,
      `https://${namespace.host}/v2/${target}`,
    );
  const statusOf = async (target: string, ...args: string[]) =>
    Number(await curl(target, '-o', '/dev/null', '-w', '%{http_code}', ...args));
  const succeeded = ({ code, stdout, stderr }: Finished) => assert.equal(code, 0, stdout + stderr);
  /** Waits until the mirror has all of an image: it fetches blobs for itself apart from those that it sends. */
  const isKept = ({ repository, configDigest, layerDigests }: HubImage) =>
    until(`${repository} is kept`, async () => {
      const links = [configDigest, ...layerDigests].map(
        (digest) => `${repository}/_layers/${digest.replace(':', '/')}/link`,
      );
      const found = links.map((link) =>
        readFile(`${mirror.storageDir}/docker/registry/v2/repositories/${link}`),
      );
      return (await Promise.allSettled(found)).every(({ status }) => status === 'fulfilled');
    });

  it('docker pushes to one registry and pulls from it and through the mirror, by its login', async () => {
    const access = { loggedIn: true, trusting: true };
    succeeded(await client.login(password, access));
    succeeded(await client.push('team/app:1', access));
    succeeded(await client.pull('team/app:1', access));
    assert.equal((await client.pulled('team/app:1')).id, own.id);
    succeeded(await client.pull('hub/library/app:1', access));
    assert.deepEqual(await client.pulled('hub/library/app:1'), { id: app.configDigest, digest: app.digest });
    await isKept(app);
    await inside('sh', '-ec', steps); // the CA of the mirror's own host again
  });

  it('podman and skopeo pull by the name with the prefix', async () => {
    const reference = `${namespace.host}/hub/library/app`;
    succeeded(await podmanPull(`${reference}:1`));
    succeeded(await skopeoPull(`${reference}@${app.digest}`));
  });

  it('podman and skopeo pull by the name of Docker Hub, without a password: tag, digest and index', async () => {
    const asked = frontDoor.log.length;
    succeeded(await podmanPull('docker.io/library/app:1'));
    const listed = await podman('images', '--digests', '--no-trunc', '--format', '{{.Digest}}');
    assert.equal(listed.stdout.trim(), app.digest);
    succeeded(await podmanPull(`docker.io/library/app@${app.digest}`));
    succeeded(await skopeoPull('docker.io/library/many:1', '--all'));
    const line = await frontDoor.logged(
      (entry) =>
        entry['path'] === '/v2/hub/library/many/manifests/1' && frontDoor.log.indexOf(entry) >= asked,
    );
    assert.equal(line['user'] ?? null, null);
    for (const image of index.images) await isKept(image);
  });

  it('containerd pulls by ns: tag, digest and index', async () => {
    succeeded(await ctrPull('docker.io/library/app:1'));
    succeeded(await ctrPull(`docker.io/library/app@${app.digest}`));
    succeeded(await ctrPull('docker.io/library/many:1', '--all-platforms'));
    const listed = await containerd.ctr('images', 'list', 'name==docker.io/library/many:1');
    assert.ok(listed.stdout.includes(index.digest), listed.stdout);
  });

  it('containerd sends the password that hosts.toml has', async () => {
    const folder = '/etc/containerd/with-password/docker.io';
    const header = `[host."https://${namespace.host}".header]\\n  authorization = "${basic}"`;
    await inside(
      'sh',
      '-ec',
      `mkdir -p ${folder}; cp /etc/containerd/certs.d/docker.io/hosts.toml ${folder}; printf '${header}\\n' >>${folder}/hosts.toml`,
    );
    const asked = frontDoor.log.length;
    await containerd.ctr('images', 'remove', '--sync', 'docker.io/library/app:1');
    succeeded(
      await containerd.ctr(
        'images',
        'pull',
        '--snapshotter',
        'native',
        '--hosts-dir',
        path.dirname(folder),
        'docker.io/library/app:1',
      ),
    );
    await frontDoor.logged((entry) => entry['user'] === user && frontDoor.log.indexOf(entry) >= asked);
  });

  it('a Docker Engine pulls by the host of the mirror: tag, digest and index', async () => {
    succeeded(await dockerPull('app:1'));
    const id = await dockerRun('image', 'inspect', '--format', '{{.Id}}', 'app:1');
    assert.equal(id.stdout.trim(), app.configDigest);
    succeeded(await dockerPull(`app@${app.digest}`));
    succeeded(await dockerPull('many:1'));
  });

  it('HEAD, tags and referrers under tags go through; there are no referrers by the API', async () => {
    const accept = ['-H', `Accept: ${types.manifest}, ${types.ociManifest}`];
    assert.equal(await statusOf('hub/library/app/manifests/1', '--head', ...accept), 200);
    assert.equal(await statusOf(`hub/library/app/blobs/${app.layerDigests[0]}`, '--head'), 200);
    const tag = `${app.digest.replace(':', '-')}.sig`;
    assert.deepEqual(JSON.parse(await curl('hub/library/app/tags/list')), {
      name: 'hub/library/app',
      tags: ['1', tag],
    });
    assert.equal(await statusOf(`hub/library/app/manifests/${tag}`, ...accept), 200);
    assert.equal(await statusOf(`hub/library/app/referrers/${app.digest}`), 404);
  });

  it('nobody may push to the mirror', async () => {
    const reference = `docker://${namespace.host}/hub/library/app`;
    const login = ['--authfile', `${dir}/auth.json`];
    const pushed = await tryInside('skopeo', 'copy', ...login, `${reference}:1`, `${reference}:2`);
    assert.notEqual(pushed.code, 0);
    assert.match(pushed.stderr, /hub\/library\/app/);
  });

  it('a network may pull from the mirror without a password, and nothing else', async () => {
    assert.equal(await statusOf('team/app/manifests/1'), 401);
    assert.equal(await statusOf('hub/library/app/blobs/uploads/', '-X', 'POST'), 401);
    assert.equal(await statusOf('library/app/manifests/1?ns=quay.io'), 404);
  });

  it('a copy from the mirror into the registry is uploaded, where the client asks for a mount', async () => {
    const reference = `docker://${namespace.host}`;
    const copied = await tryInside(
      'skopeo',
      'copy',
      '--authfile',
      `${dir}/auth.json`,
      `${reference}/hub/library/app:1`,
      `${reference}/team/copied:1`,
    );
    succeeded(copied);
    assert.equal((await registry.manifest('team/copied', '1')).configDigest, app.configDigest);
  });

  const failures: [what: string, mood: Partial<HubMood>, status: number, told: RegExp][] = [
    ['is away', { away: true }, 502, /away or refuse/],
    ['limits pulls', { refusal: 429, refuses: 'pulls' }, 429, /limits pulls/],
    ['refuses everything with 429', { refusal: 429 }, 429, /limits pulls/],
    ['wants a login', { refusal: 401, refuses: 'content' }, 404, /the mirror's credentials/],
    ['refuses the credentials', { refusal: 401, refuses: 'token' }, 404, /the mirror's credentials/],
    ['has an error', { refusal: 500 }, 502, /away or refuse/],
    ['sends other bytes', { lie: 'bytes' }, 502, /sent other bytes/],
    ['sends half', { lie: 'half' }, 502, /away or refuse/],
    ['does not answer', { silent: true }, 504, /did not answer/],
  ];
  for (const [i, [what, mood, status, told]] of failures.entries()) {
    it(`while Docker Hub ${what}, what the mirror has is pulled, and the rest is a clear error`, async (t) => {
      const other = await addHubImage(hub, `library/other${i}`, '1');
      const accept = ['-H', `Accept: ${types.manifest}`];
      await hub.be(mood);
      t.after(() => hub.be(well));
      succeeded(await skopeoPull('docker.io/library/app:1'));
      succeeded(await skopeoPull(`docker.io/library/app@${app.digest}`));
      const { errors } = JSON.parse(
        await curl(`hub/${other.repository}/manifests/1`, ...accept),
      ) as OciErrors;
      assert.match(errors[0]?.message ?? '', /^The mirror of docker\.io \(route hub\) /);
      assert.match(errors[0]?.message ?? '', told);
      assert.equal(await statusOf(`hub/${other.repository}/manifests/1`, ...accept), status);
      // It repeats a request that gets 429 for half a minute.
      if (status !== 429) {
        const refused = await skopeoPull(`${namespace.host}/hub/${other.repository}:1`);
        assert.notEqual(refused.code, 0);
        assert.match(refused.stderr, status === 404 ? told : new RegExp(`${status}`));
      }
      const login = ['-u', `${user}:${password}`];
      assert.equal(await statusOf('team/copied/manifests/1', ...login, ...accept), 200);
      await hub.be(well);
      await until(
        'the mirror gets it',
        async () => (await statusOf(`hub/${other.repository}/manifests/1`, ...accept)) === 200,
      );
    });
  }

  it('while Docker Hub is away, every client pulls what the mirror has', async (t) => {
    await hub.be({ away: true });
    t.after(() => hub.be(well));
    succeeded(await dockerPull('app:1'));
    succeeded(await podmanPull('docker.io/library/app:1'));
    succeeded(await ctrPull('docker.io/library/app:1'));
    succeeded(await skopeoPull('docker.io/library/many:1', '--all'));
  });
});
