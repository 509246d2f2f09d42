import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { loadConfig, type LoadedConfig } from '../../config/load/load.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { loadPemIfAny, parseCertificates } from '../../tls/pem.ts';
import { parseAltNames, type ServerName } from '../../tls/server-name.ts';
import { addConfigOptions, readConfigOptions } from '../config.ts';
import { collect, parseHost, parsePort } from '../cert/cert-options.ts';
import { parseMirrorSource, type MirrorSource } from './mirror-source.ts';
import { formatMirrorSteps, type ClientRoute } from './mirror-steps.ts';

type Tls = LoadedConfig['config']['tls'];
type Options = { readonly host?: ServerName; readonly port?: number; readonly mirror?: MirrorSource[] };

/** Adds `mirror steps`. */
export function addMirrorCommand(program: Command): void {
  const mirror = program.command('mirror').description('pull through mirrors of other registries');
  const steps = mirror
    .command('steps')
    .description(
      'show the steps that make containerd, Docker, Podman and CRI-O pull through the mirrors among the routes',
    );
  addConfigOptions(steps)
    .option(
      '--host <name>',
      'the host name that clients use (default: the first of the certificate)',
      parseHost,
    )
    .option('--port <port>', 'the port that clients use (default: listen.port)', parsePort)
    .option(
      '--mirror <sources>',
      'sources of further mirrors, as for npm start, comma-separated',
      collect(parseMirrorSource),
    )
    .action(() => runSteps(steps));
}

async function runSteps(command: Command): Promise<void> {
  const { config } = await loadConfig(readConfigOptions(command));
  const { host, port = config.listen.port, mirror = [] } = command.opts<Options>();
  const started = mirror.map(({ namespace, route }) => ({
    stripPrefix: route,
    namespaces: [namespace],
    hosts: [],
  }));
  const routes: ClientRoute[] = [...config.routes, ...started].filter((route) => route.namespaces.length > 0);
  if (routes.length === 0) {
    throw new OperatorError(
      'No route of the configuration mirrors a registry: set namespaces of one, such as [docker.io], see docs/mirrors.md.',
    );
  }
  const caPath = await findCa(config.tls);
  const name = host?.value ?? findHost(await listNames(config.tls), routes);
  process.stdout.write(formatMirrorSteps({ routes, host: name, port, caPath }));
}

/** The CA that clients must be told of; null: a public one. */
async function findCa({ cert, acme }: Tls): Promise<string | null> {
  const path = join(dirname(cert), 'ca.crt');
  if (acme.hosts.length > 0) return acme.ca;
  return (await loadPemIfAny(path)) === null ? null : path;
}

async function listNames({ cert, acme }: Tls): Promise<readonly string[]> {
  if (acme.hosts.length > 0) return acme.hosts;
  const pem = await loadPemIfAny(cert);
  const leaf = pem === null ? null : parseCertificates(pem, cert)[0];
  return parseAltNames(leaf?.subjectAltName).map(({ value }) => value);
}

/** Finds the first name of the certificate that is no wildcard and belongs to no route. */
function findHost(names: readonly string[], routes: readonly ClientRoute[]): string {
  const ofRoutes = routes.flatMap(({ hosts }) => hosts);
  const host = names.find((name) => !name.startsWith('*.') && !ofRoutes.includes(name));
  if (host !== undefined) return host;
  throw new OperatorError('The certificate names no single host: name the one that clients use with --host.');
}
