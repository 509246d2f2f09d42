import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from './clients.ts';
import type { EngineNamespace } from './engine-namespace.ts';
import type { Engine } from './engine.ts';
import { user } from './front-door.ts';
import type { Image } from './image.ts';
import { run, type Finished } from './processes.ts';

export type DockerCli = { readonly path: string; readonly version: string };

/** Finds all Docker CLIs of this machine, one of each version: a newer one may come before Debian's on PATH. */
export async function findDockerClis(): Promise<DockerCli[]> {
  const found = new Map<string, DockerCli>();
  for (const dir of [...(process.env['PATH'] ?? '').split(':'), '/usr/bin']) {
    const file = await realpath(path.join(dir, 'docker')).catch(() => null);
    if (file === null) continue;
    // podman's docker command says that it is podman.
    const version = /^Docker version ([^\s,]+)/.exec((await run(file, ['--version'])).stdout)?.[1];
    if (version !== undefined && !found.has(version)) found.set(version, { path: file, version });
  }
  return [...found.values()];
}

/** Runs `docker login` with the password on standard input; it stores credentials in configDir. */
export function dockerLogin(
  cli: DockerCli,
  options: {
    host: string;
    /** The default is Tidegate's user. */
    name?: string;
    password: string;
    configDir: string;
    engineUrl: string;
    within?: readonly string[];
  },
): Promise<Finished> {
  const login = ['login', '--username', options.name ?? user, '--password-stdin', options.host];
  const [file = '', ...args] = [
    ...(options.within ?? []),
    ...dockerCommand(cli, options.configDir, options.engineUrl),
    ...login,
  ];
  return run(file, args, { env: dockerEnv, input: `${options.password}\n` });
}

const dockerEnv = { DOCKER_HOST: undefined, DOCKER_CONTEXT: undefined, DOCKER_CONFIG: undefined };

const dockerCommand = (cli: DockerCli, configDir: string, engineUrl: string) => [
  cli.path,
  ...['--config', configDir, '--host', engineUrl],
];

/** A Docker CLI with an engine. The engine talks to the registry and verifies its certificate. */
export async function createDockerClient(
  cli: DockerCli,
  options: { namespace: EngineNamespace; engine: Engine; ca: string; image: Image },
): Promise<Client> {
  const { namespace, engine, ca, image } = options;
  const { host } = namespace;
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-docker-'));
  const configDir = path.join(dir, 'config');
  const noConfigDir = path.join(dir, 'no-config');
  await mkdir(configDir);
  await mkdir(noConfigDir);
  const command = (loggedIn: boolean, ...args: readonly string[]): Promise<Finished> => {
    const [file = '', ...before] = dockerCommand(cli, loggedIn ? configDir : noConfigDir, engine.url);
    return run(file, [...before, ...args], { env: dockerEnv });
  };
  const must = async (...args: readonly string[]): Promise<string> => {
    const done = await command(false, ...args);
    if (done.code !== 0) throw new Error(`docker ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  const engineVersion = (await must('version', '--format', '{{.Server.Version}}')).trim();
  await must('load', '--input', image.archivePath);

  return {
    name: `docker ${cli.version} with engine ${engineVersion}`,
    wrongPassword: /401 Unauthorized/,
    noCredentials: /unauthorized|no basic auth credentials/,
    login: async (password, { trusting, name }) => {
      await namespace.trust(trusting ? ca : null);
      return dockerLogin(cli, { host, password, configDir, engineUrl: engine.url, ...(name && { name }) });
    },
    push: async (repositoryTag, { loggedIn, trusting }) => {
      await namespace.trust(trusting ? ca : null);
      await must('tag', image.name, `${host}/${repositoryTag}`);
      return command(loggedIn, 'push', `${host}/${repositoryTag}`);
    },
    pull: async (repositoryTag, { loggedIn, trusting }) => {
      await namespace.trust(trusting ? ca : null);
      const images = (await must('images', '--all', '--quiet')).split('\n').filter((id) => id !== '');
      if (images.length > 0) await must('rmi', '--force', ...new Set(images));
      return command(loggedIn, 'pull', `${host}/${repositoryTag}`);
    },
    pulled: async (repositoryTag) => {
      const format = '{{.Id}} {{index .RepoDigests 0}}';
      const seen = await must('image', 'inspect', '--format', format, `${host}/${repositoryTag}`);
      const [id = '', repoDigest = ''] = seen.trim().split(' ');
      return { id, digest: repoDigest.replace(/^.*@/, '') };
    },
    hasCredentials: async () =>
      (await readFile(path.join(configDir, 'config.json'), 'utf8').catch(() => '')).includes(host),
    cleanUp: () => rm(dir, { recursive: true, force: true }),
  };
}
