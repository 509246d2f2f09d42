import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../../system/operator-error.ts';
import { loadUpstreamCa } from '../../app/pem-files.ts';
import type { Preparation, Say } from '../preparation.ts';
import { writeRegistryConfig } from './registry-config.ts';
import { mayTakeFound, type Confirm } from './found-registry.ts';
import { answersLikeRegistry } from './registry-probe.ts';
import { startRegistryProcess } from './registry-process.ts';

const execute = promisify(execFile);
const probeTimeoutMs = 3000;
const containerImage = 'registry:2';
const debianPackage = { program: 'docker-registry', package: 'docker-registry' };

/** The registry behind Tidegate; `stop` ends it if it was started here. */
export type FoundUpstream = {
  readonly url: string;
  /** What it is and where its images are, for people. */
  readonly description: string;
  /** The folder of its images, for `upstream.storage`; null: none that this program may count on reading. */
  readonly storage: string | null;
  readonly stop: () => Promise<void>;
};

export type FindUpstreamOptions = {
  /** `upstream` of the configuration. */
  readonly configured: { readonly url: string; readonly ca: string | null; readonly storage: string | null };
  /** Whether the operator has set `upstream.url`; for a registry at its default, `confirm` is asked. */
  readonly isUrlSet: boolean;
  readonly confirm: Confirm;
  /** Images, configuration and output of a registry that is started here go into this folder. */
  readonly varDir: string;
  readonly preparation: Preparation;
  readonly warn: (sentence: string) => void;
};

/**
 * Finds the upstream: the one at `upstream.url` if it answers and is configured or confirmed, else a registry program
 * (installed where allowed), else a container of a Docker engine. The returned function starts it, if needed.
 * @throws OperatorError when there is none of them.
 */
export async function findUpstream(options: FindUpstreamOptions): Promise<() => Promise<FoundUpstream>> {
  const { configured, preparation } = options;
  const { answers } = await preparation.step(`Registry at ${configured.url}`, async () => {
    const ca = configured.ca === null ? null : (await loadUpstreamCa(configured.ca)).pem;
    const answers = await answersLikeRegistry(configured.url, ca, probeTimeoutMs);
    return { answers, outcome: answers ? 'answers' : 'none answers there' };
  });
  if (answers && (options.isUrlSet || (await mayTakeFound({ ...options, url: configured.url })))) {
    const stop = () => Promise.resolve();
    const { url, storage } = configured;
    return () => Promise.resolve({ url, storage, description: 'which was running already', stop });
  }

  const refusal = preparation.whyNotInstall([debianPackage]);
  let program = await findRegistryProgram(preparation);
  if (program === undefined && refusal === undefined) {
    await preparation.installPackages([debianPackage]);
    program = await findRegistryProgram(preparation);
  }
  if (program !== undefined) {
    const path = program;
    return () => start(`Registry program ${path}`, () => startProgram(path, options), options);
  }
  if (await dockerAnswers()) {
    const title = 'Registry in a container of the Docker engine';
    return () => start(title, (say) => startContainer(options, say), options);
  }
  const why = answers ? `the one at ${configured.url} is not used` : `none answers at ${configured.url}`;
  throw new OperatorError(
    `There is no registry to run in front of: ${why}, there is no docker-registry or registry program on PATH, and no Docker engine answers. ${refusal ?? ''} Or start a Docker engine, or name a running registry as upstream.url in config/tidegate.yml.`,
  );
}

async function start(
  title: string,
  work: (say: Say) => Promise<FoundUpstream>,
  { varDir, preparation }: FindUpstreamOptions,
): Promise<FoundUpstream> {
  await mkdir(join(varDir, 'registry'), { recursive: true, mode: 0o700 });
  return preparation.step(title, async (say) => {
    const upstream = await work(say);
    return { ...upstream, outcome: `listening on ${upstream.url}` };
  });
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

async function startProgram(program: string, { varDir, warn }: FindUpstreamOptions): Promise<FoundUpstream> {
  const configPath = join(varDir, 'registry.yml');
  const rootDirectory = join(varDir, 'registry');
  const { url, stop } = await startRegistryProcess({
    logPath: join(varDir, 'registry.log'),
    warn,
    createCommand: async (port) => {
      await writeRegistryConfig(configPath, { address: `127.0.0.1:${port}`, rootDirectory });
      return { program, args: ['serve', configPath] };
    },
  });
  return { url, description: `${program}, images in ${rootDirectory}`, storage: rootDirectory, stop };
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
async function startContainer({ varDir, warn }: FindUpstreamOptions, say: Say): Promise<FoundUpstream> {
  const configPath = join(varDir, 'registry.yml');
  const storage = join(varDir, 'registry');
  // Two checkouts side by side have a container each.
  const name = `tidegate-registry-${createHash('sha256').update(varDir).digest('hex').slice(0, 8)}`;
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
  await execute('docker', ['rm', '--force', name]).catch(() => undefined);
  const { url, stop } = await startRegistryProcess({
    logPath: join(varDir, 'registry.log'),
    warn,
    createCommand: async (port) => {
      await writeRegistryConfig(configPath, { address: ':5000', rootDirectory: '/var/lib/registry' });
      const mounts = [`${storage}:/var/lib/registry:z`, `${configPath}:/etc/docker/registry/config.yml:ro,z`];
      const publish = ['--publish', `127.0.0.1:${port}:5000`];
      const volumes = mounts.flatMap((mount) => ['--volume', mount]);
      return {
        program: 'docker',
        args: ['run', '--rm', '--name', name, ...publish, ...volumes, containerImage],
      };
    },
  });
  return {
    url,
    description: `container ${name} of ${containerImage}, images in ${storage}`,
    storage: null,
    stop,
  };
}
