import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { findCleanWarnings } from '../cli/clean/clean-warnings.ts';
import { openTerminal } from '../cli/terminal.ts';
import { createPolicyWarner, findPolicyWarnings } from '../cli/policy/policy-warnings.ts';
import { openServer, type Server, type ServerOptions } from '../supervisor/server.ts';
import { loadConfig, type LoadedConfig } from '../config/load/load.ts';
import { chooseLogFormat, createLogger } from '../telemetry/log/logger.ts';
import { startCleaner } from './cleaner.ts';
import { ensureFirstUser, type FirstUser } from './first-user.ts';
import { chooseHostNames } from './host-names.ts';
import { choosePort } from './port.ts';
import type { Preparation } from './preparation.ts';
import { formatCredentials, formatReadyMessage } from './ready-message.ts';
import { ensureServerCertificate } from './server-certificate.ts';
import { parseMirrorSource } from '../cli/mirror/mirror-source.ts';
import { describeRoute, findMirrors, type StartedMirror } from './mirror/mirrors.ts';
import { findUpstream } from './registry/upstream.ts';

export type QuickstartOptions = {
  /** The folder of the checkout, absolute. */
  readonly root: string;
  /** Requested names; none: the machine's own. */
  readonly hosts: readonly string[];
  /** The requested port; null: 443 or the next choice. */
  readonly port: number | null;
  /** Sources of mirrors, as parseMirrorSource takes them. */
  readonly mirrors: readonly string[];
  readonly mirrorCredentials: string | null;
  readonly preparation: Preparation;
};

/** Ctrl-C arrives twice within an instant: from the terminal, and from npm, which forwards it. */
const repeatedSignalMs = 500;
const defaultPort = 443;

/**
 * Creates what a first start lacks (certificate, user, registry), runs Tidegate in this process, and on a signal ends
 * it with everything that was started here.
 * @throws OperatorError when something is missing that cannot be created.
 */
export async function quickstart(options: QuickstartOptions): Promise<void> {
  const { root, preparation } = options;
  const { config: given, configPath, settings } = await load(root, []);
  const log = { ...given.log, format: chooseLogFormat(given.log, settings) };
  const { logger, exit, passOn } = await createLogger({
    ...log,
    isShared: given.workers > 1,
    isRequired: true,
  });
  const names = await chooseHostNames(options.hosts);
  const starter = { root, preparation, warn: (sentence: string) => logger.warn(sentence) };
  const startMirrors = await findMirrors({
    ...starter,
    sources: options.mirrors.map(parseMirrorSource),
    credentialsPath: options.mirrorCredentials,
    routes: given.routes,
  });
  const startUpstream = await findUpstream({
    ...starter,
    configured: given.upstream,
    isUrlSet: settings.has('upstream.url'),
    confirm: openTerminal(),
  });

  // Before Tidegate listens there is nothing to wait for; what was started ends with this process.
  let stop: (signal: NodeJS.Signals) => void = () => process.exit(130);
  onStopSignal((signal) => stop(signal));
  const upstream = await startUpstream();
  const mirrors: StartedMirror[] = [];
  const stopCleaner = startCleaner({ ...starter, registry: upstream });
  const stopRegistries = async () => {
    await stopCleaner();
    await Promise.all([upstream, ...mirrors.map(({ registry }) => registry)].map(({ stop }) => stop()));
  };
  try {
    await startMirrors((mirror) => mirrors.push(mirror));
    const askedPort = options.port ?? (given.listen.port === defaultPort ? null : given.listen.port);
    const port = await choosePort(given.listen.host, askedPort);
    const warn = createPolicyWarner(logger);
    const loadServed = async () => {
      const set = [
        `listen.port=${port}`,
        `upstream.url=${upstream.url}`,
        `upstream.storage=${upstream.storage ?? ''}`,
      ];
      const loaded = await load(root, [...set, ...(await setRoutes(root, mirrors))]);
      warn([...(await findPolicyWarnings(loaded)), ...findCleanWarnings(loaded)]);
      return { ...loaded, config: { ...loaded.config, log } };
    };
    const served = await loadServed();
    const { config } = served;
    const { caPath } = await preparation.step('Certificate', () =>
      ensureServerCertificate({ certPath: config.tls.cert, keyPath: config.tls.key, names, now: new Date() }),
    );
    const user = await ensureFirstUser(config.auth.htpasswd, config.auth);
    const server = await open({ ...served, logger, passOn, load: loadServed }, user);
    stop = (signal) => {
      process.stdout.write('\nStopping; a second signal ends everything at once.\n');
      // Ctrl-C ends it at once for somebody at a terminal; a service manager's SIGTERM lets transfers finish.
      void server
        .close(signal === 'SIGINT' ? { graceMs: 0 } : {})
        .then(stopRegistries)
        .then(() => exit(0));
    };
    const htpasswdPath = config.auth.htpasswd;
    const message = formatReadyMessage({
      ...{ host: names[0], port, upstream, mirrors, configPath, htpasswdPath, caPath, user },
    });
    // Behind the lines of the log that are on their way.
    await passOn(Readable.from([Buffer.from(message)], { objectMode: false }));
  } catch (error) {
    await stopRegistries();
    throw error;
  }
}

/** Loads the operator's own configuration if it exists, else the defaults; `set` overrides both. */
async function load(root: string, set: readonly string[]): Promise<LoadedConfig> {
  const configPath = join(root, 'config/tidegate.yml');
  return loadConfig({
    configPath: existsSync(configPath) ? configPath : undefined,
    flavor: undefined,
    set,
    env: process.env,
    cwd: root,
  });
}

/** Adds the started mirrors to the operator's own routes. */
async function setRoutes(root: string, mirrors: readonly StartedMirror[]): Promise<string[]> {
  if (mirrors.length === 0) return [];
  const { settings } = await load(root, []);
  const own = (settings.get('routes')?.value ?? []) as readonly unknown[];
  return [`routes=${JSON.stringify([...own, ...mirrors.map(describeRoute)])}`]; // JSON is YAML
}

async function open(options: ServerOptions, user: FirstUser): Promise<Server> {
  try {
    return await openServer(options);
  } catch (error) {
    // The user exists now, so show the password even though the start has failed.
    if (user.password !== null) process.stdout.write(formatCredentials(user.name, user.password));
    throw error;
  }
}

/** Calls `stop` on the first signal and ends the process at once on a second one. */
function onStopSignal(stop: (signal: NodeJS.Signals) => void): void {
  let firstAtMs: number | undefined;
  const handle = (signal: NodeJS.Signals) => {
    const nowMs = performance.now();
    if (firstAtMs === undefined) {
      firstAtMs = nowMs;
      stop(signal);
    } else if (nowMs - firstAtMs > repeatedSignalMs) {
      process.exit(1);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, handle);
}
