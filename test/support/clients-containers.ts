import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Access, Client } from './clients.ts';
import { user } from './front-door.ts';
import type { Image } from './image.ts';
import { run, type Finished } from './processes.ts';

/** As root they always keep a cache in /var/lib. Where possible, each client gets its own folder there. */
const separately: readonly string[] =
  process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0
    ? ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /var/lib && exec "$@"']
    : [];

export type ContainersTool = 'podman' | 'buildah' | 'skopeo';

/** A program built on containers/image. They verify TLS on every address, even loopback. */
export async function createContainersClient(
  tool: ContainersTool,
  options: {
    host: string;
    ca: string;
    image: Image;
    clientPair?: { cert: string; key: string };
    /** A command to start it with, such as one that enters a network namespace. */
    within?: readonly string[];
  },
): Promise<Client> {
  const { host, ca, image, clientPair, within = [] } = options;
  const dir = await mkdtemp(path.join(tmpdir(), `tidegate-${tool}-`));
  const certDir = path.join(dir, 'certs');
  const noCertDir = path.join(dir, 'no-certs');
  const authFile = path.join(dir, 'auth.json');
  const noAuthFile = path.join(dir, 'no-auth.json');
  const varLibDir = path.join(dir, 'var-lib');
  const downDir = path.join(dir, 'down');
  await mkdir(certDir);
  await mkdir(noCertDir);
  await mkdir(varLibDir);
  const privately = separately.length === 0 ? [] : [...separately, varLibDir];
  await writeFile(path.join(certDir, 'ca.crt'), ca);
  if (clientPair !== undefined) {
    await writeFile(path.join(certDir, 'client.cert'), clientPair.cert);
    await writeFile(path.join(certDir, 'client.key'), clientPair.key, { mode: 0o600 });
  }
  await writeFile(noAuthFile, '{}');
  const storage = ['--root', `${dir}/root`, '--runroot', `${dir}/run`, '--storage-driver', 'vfs'];
  const before = { podman: [...storage, '--tmpdir', `${dir}/tmp`], buildah: storage, skopeo: [] }[tool];
  const env = { HOME: dir, XDG_RUNTIME_DIR: dir, REGISTRY_AUTH_FILE: undefined, NO_PROXY: '*' };
  const command = (args: readonly string[], input?: string): Promise<Finished> => {
    const [file = '', ...rest] = [...within, ...privately, tool, ...before, ...args];
    return run(file, rest, { env, ...(input === undefined ? {} : { input }) });
  };
  const must = async (...args: readonly string[]): Promise<string> => {
    const done = await command(args);
    if (done.code !== 0) throw new Error(`${tool} ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  const reach = ({ loggedIn, trusting }: Access, certOption = '--cert-dir') => [
    ...['--authfile', loggedIn ? authFile : noAuthFile],
    ...[certOption, trusting ? certDir : noCertDir],
  ];

  const version = (await must('--version')).trim();
  if (tool === 'podman') await must('load', '--quiet', '--input', image.archivePath);
  if (tool === 'buildah') await must('pull', '--quiet', `docker-archive:${image.archivePath}`);
  const source = tool === 'skopeo' ? `docker-archive:${image.archivePath}` : image.name;

  return {
    name: version,
    wrongPassword: /invalid username\/password/,
    noCredentials: /unauthorized/,
    login: (password, { trusting, name = user }) =>
      command(
        ['login', ...reach({ loggedIn: true, trusting }), ...['--username', name, '--password-stdin', host]],
        `${password}\n`,
      ),
    push: (repositoryTag, access) =>
      tool === 'skopeo'
        ? command(['copy', ...reach(access, '--dest-cert-dir'), source, `docker://${host}/${repositoryTag}`])
        : command(['push', ...reach(access), source, `docker://${host}/${repositoryTag}`]),
    pull: async (repositoryTag, access) => {
      if (tool === 'skopeo') {
        await rm(downDir, { recursive: true, force: true });
        const from = `docker://${host}/${repositoryTag}`;
        return command(['copy', ...reach(access, '--src-cert-dir'), from, `dir:${downDir}`]);
      }
      await must('rmi', '--all', '--force');
      return command(['pull', ...reach(access), `${host}/${repositoryTag}`]);
    },
    pulled: async (repositoryTag) => {
      if (tool === 'skopeo') {
        const manifest = await readFile(path.join(downDir, 'manifest.json'));
        const { config } = JSON.parse(manifest.toString()) as { config: { digest: string } };
        return { id: config.digest, digest: `sha256:${createHash('sha256').update(manifest).digest('hex')}` };
      }
      const format = ['--digests', '--no-trunc', '--format', '{{.ID}} {{.Digest}}'];
      const listed = await must('images', ...format, `${host}/${repositoryTag}`);
      const [id = '', digest = ''] = listed.trim().split(/\s+/);
      return { id: id.startsWith('sha256:') ? id : `sha256:${id}`, digest };
    },
    hasCredentials: async () => (await readFile(authFile, 'utf8').catch(() => '')).includes(host),
    cleanUp: async () => {
      // Without root, only the tool's user namespace can write to a layer's folder.
      if (tool !== 'skopeo') await must('rmi', '--all', '--force');
      if (tool === 'podman') await must('system', 'migrate'); // ends the process that holds that namespace
      await rm(dir, { recursive: true, force: true });
    },
  };
}
