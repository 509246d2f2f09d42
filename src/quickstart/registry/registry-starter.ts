import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../../system/operator-error.ts';
import type { Preparation, Say } from '../preparation.ts';
import { writeRegistryConfig, type RegistryProxy } from './registry-config.ts';
import { startRegistryProcess } from './registry-process.ts';

const execute = promisify(execFile);
const containerImage = 'registry:2';
const debianPackage = { program: 'docker-registry', package: 'docker-registry' };

/** A registry behind Tidegate; `stop` ends it if it was started here. */
export type FoundRegistry = {
  readonly url: string;
  /** What it is and where its images are, for people. */
  readonly description: string;
  /** The folder of its images, for `upstream.storage`; null: none that this program may count on reading. */
  readonly storage: string | null;
  /** Whether it was started here. */
  readonly isStarted: boolean;
  readonly stop: () => Promise<void>;
};

/** A registry to start. */
export type RegistryPlan = {
  /** Of its files: NAME.yml, NAME.log, and the folder NAME with its images. */
  readonly name: string;
  /** For people, such as "Registry". */
  readonly title: string;
  /** What it mirrors; null: nothing. */
  readonly proxy: RegistryProxy | null;
};

export type StartRegistry = (plan: RegistryPlan) => Promise<FoundRegistry>;

export type RegistryStarterOptions = {
  /** The folder of the checkout; the registries' files go into var/. */
  readonly root: string;
  readonly preparation: Preparation;
  readonly warn: (sentence: string) => void;
};

/**
 * Finds out how a registry can be started here: with a registry program (installed where allowed), else in a container of
 * a Docker engine.
 * @param need what it is needed for, as the beginning of a sentence
 * @throws OperatorError when there is neither.
 */
export async function findRegistryStarter(
  options: RegistryStarterOptions,
  need: string,
): Promise<StartRegistry> {
  const { preparation } = options;
  const refusal = preparation.whyNotInstall([debianPackage]);
  let program = await findRegistryProgram(preparation);
  if (program === undefined && refusal === undefined) {
    await preparation.installPackages([debianPackage]);
    program = await findRegistryProgram(preparation);
  }
  if (program !== undefined) {
    const path = program;
    return (plan) =>
      start(`${plan.title} program ${path}`, plan, () => startProgram(path, plan, options), options);
  }
  if (await dockerAnswers()) {
    return (plan) => {
      const title = `${plan.title} in a container of the Docker engine`;
      return start(title, plan, (say) => startContainer(plan, options, say), options);
    };
  }
  throw new OperatorError(
    `${need}, there is no docker-registry or registry program on PATH, and no Docker engine answers. ${refusal ?? ''} Or start a Docker engine, or name a running registry as upstream.url in config/tidegate.yml.`,
  );
}

type StartedRegistry = { readonly registry: FoundRegistry; readonly output: string };

async function start(
  title: string,
  { name, proxy }: RegistryPlan,
  work: (say: Say) => Promise<StartedRegistry>,
  { root, preparation }: RegistryStarterOptions,
): Promise<FoundRegistry> {
  await mkdir(join(root, 'var', name), { recursive: true, mode: 0o700 });
  const { registry: started } = await preparation.step(title, async (say) => {
    const { registry, output } = await work(say);
    // As deploy/mirror.sh says it.
    const isSourceAway = proxy !== null && output.includes('source of this mirror does not answer');
    const { logPath } = nameFiles(root, name);
    const note = isSourceAway
      ? `, but ${proxy.url} does not answer: it is tried again every 30 s, see ${logPath}`
      : '';
    return { registry, outcome: `listening on ${registry.url}${note}` };
  });
  return started;
}

/** Debian calls it docker-registry, distribution's own builds registry; other programs with that name are skipped. */
async function findRegistryProgram({ findProgram }: Preparation): Promise<string | undefined> {
  for (const name of ['docker-registry', 'registry']) {
    const path = findProgram(name);
    if (path === undefined) continue;
    const { stdout } = await execute(path, ['--version'], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
    if (stdout.includes('distribution')) return path;
  }
  return undefined;
}

/** The files of a registry that is started here. */
function nameFiles(
  root: string,
  name: string,
): Record<'configPath' | 'logPath' | 'storage' | 'script', string> {
  const base = join(root, 'var', name);
  return {
    configPath: `${base}.yml`,
    logPath: `${base}.log`,
    storage: base,
    script: join(root, 'deploy/mirror.sh'),
  };
}

async function startProgram(
  program: string,
  { name, proxy }: RegistryPlan,
  { root, warn }: RegistryStarterOptions,
): Promise<StartedRegistry> {
  const { configPath, logPath, storage, script } = nameFiles(root, name);
  const { url, output, stop } = await startRegistryProcess({
    logPath,
    warn,
    createCommand: async (port) => {
      await writeRegistryConfig(configPath, { address: `127.0.0.1:${port}`, rootDirectory: storage, proxy });
      return proxy === null
        ? { program, args: ['serve', configPath] }
        : { program: 'sh', args: [script, program, configPath] };
    },
  });
  const description = `${program}, images in ${storage}`;
  return { output, registry: { url, description, storage, isStarted: true, stop } };
}

async function dockerAnswers(): Promise<boolean> {
  try {
    await execute('docker', ['info', '--format', '{{.ServerVersion}}'], { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Runs in the foreground of the docker command, which forwards the signal that ends it: so both kinds stop the same
 * way.
 */
async function startContainer(
  { name, proxy }: RegistryPlan,
  { root, warn }: RegistryStarterOptions,
  say: Say,
): Promise<StartedRegistry> {
  const { configPath, logPath, storage, script } = nameFiles(root, name);
  // Two checkouts side by side have a container each.
  const checkout = createHash('sha256').update(join(root, 'var')).digest('hex').slice(0, 8);
  const container = `tidegate-${name}-${checkout}`;
  const hasImage = await execute('docker', ['image', 'inspect', containerImage]).then(
    () => true,
    () => false,
  );
  if (!hasImage) {
    say(`pulling the image ${containerImage}`);
    await execute('docker', ['pull', '--quiet', containerImage]).catch((error: unknown) => {
      const { stderr = '' } = error as { stderr?: string };
      throw new OperatorError(
        `The Docker engine cannot pull ${containerImage}: ${stderr.trim()}\nCheck its network, or load the image.`,
      );
    });
  }
  // A container of a killed start would keep the name; this checkout's lock ensures that nobody uses it.
  await execute('docker', ['rm', '--force', container]).catch(() => undefined);
  const inside = '/etc/docker/registry/config.yml';
  const { url, output, stop } = await startRegistryProcess({
    logPath,
    warn,
    createCommand: async (port) => {
      await writeRegistryConfig(configPath, { address: ':5000', rootDirectory: '/var/lib/registry', proxy });
      const mounts = [
        `${storage}:/var/lib/registry:z`,
        `${configPath}:${inside}:ro,z`,
        ...(proxy === null ? [] : [`${script}:/mirror.sh:ro,z`]),
      ];
      const publish = ['--publish', `127.0.0.1:${port}:5000`];
      const volumes = mounts.flatMap((mount) => ['--volume', mount]);
      const run = ['run', '--rm', '--name', container, ...publish, ...volumes];
      const args =
        proxy === null
          ? [...run, containerImage]
          : [...run, '--entrypoint', '/bin/sh', containerImage, '/mirror.sh', 'registry', inside];
      return { program: 'docker', args };
    },
  });
  const description = `container ${container} of ${containerImage}, images in ${storage}`;
  return { output, registry: { url, description, storage: null, isStarted: true, stop } };
}
