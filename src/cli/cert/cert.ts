import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { OperatorError } from '../../system/operator-error.ts';
import { formatCertificate } from '../../tls/issue/certificate-summary.ts';
import { loadPem, loadPemIfAny, parseCertificates } from '../../tls/pem.ts';
import { createCertificates, defaultLeafDays } from '../../tls/issue/self-signed.ts';
import { parseAltNames, parseServerIp, parseServerName, type ServerName } from '../../tls/server-name.ts';
import { formatTrustSteps } from '../../tls/trust.ts';
import { findAcmeFolder } from '../../config/schema/acme-folder.ts';
import { loadConfig } from '../../config/load/load.ts';
import { addConfigOptions, readConfigOptions } from '../config.ts';
import { addCertClientCommand } from './cert-client.ts';
import { formatManaged } from './managed-certificate.ts';
import { collect, outOption, parseDays, parseHost, parsePort } from './cert-options.ts';

/** Files of `cert create` and `cert client` other than client certificates. */
const ownCertificates: readonly string[] = ['ca.crt', 'server.crt', 'client-ca.crt'];
const whenNoCa = 'run "tidegate cert create --host NAME" first, or name its folder with --out';

/** Adds `cert create`, `cert show`, `cert trust` and `cert client`. */
export function addCertCommand(program: Command): void {
  const cert = program.command('cert').description('create, show and distribute the certificates');

  const create = cert
    .command('create')
    .description('make a CA and a server certificate, or renew the server certificate under the existing CA')
    .option(
      '--host <names>',
      'host names that clients use, comma-separated (default: those of the present one)',
      collect((text) => parseServerName(text).value),
    )
    .option(
      '--ip <addresses>',
      'IP addresses that clients use, comma-separated',
      collect((text) => parseServerIp(text).value),
    )
    .option(...outOption)
    .option(
      '--days <days>',
      "lifetime of the server certificate; Apple's clients accept 825",
      parseDays,
      defaultLeafDays,
    )
    .option('--force', 'replace server.crt and server.key whoever made them (never the CA)')
    .action(async (options: CreateOptions) => runCreate(options, create));

  const show = cert
    .command('show')
    .description(
      'show names, lifetime, fingerprint and key of the certificates, and how that of tls.acme fares',
    )
    .option(...outOption);
  addConfigOptions(show).action(async ({ out }: { out: string }) => runShow(out, show));

  cert
    .command('trust')
    .description('show the steps that make Docker, containerd, Podman and whole systems trust the CA')
    .option(...outOption)
    .option(
      '--host <name>',
      'the host name that clients use (default: all of the server certificate)',
      parseHost,
    )
    .option('--port <port>', 'the port that clients use', parsePort, 443)
    .action(runTrust);

  addCertClientCommand(cert);
}

type CreateOptions = { host?: string[]; ip?: string[]; out: string; days: number; force?: true };

async function runCreate(options: CreateOptions, command: Command): Promise<void> {
  const { out, host: hosts = [], ip: ips = [], days, force = false } = options;
  if (hosts.length + ips.length === 0 && !existsSync(join(out, 'server.crt'))) {
    command.error(
      `error: there is no certificate in ${out} yet: name the host that clients use, with --host NAME`,
    );
  }
  const made = await createCertificates({ outDir: out, hosts, ips, days, force, now: new Date() });
  const what = {
    'ca-and-leaf': 'Made a CA and a server certificate',
    leaf: 'Made a server certificate under the present CA',
    'renewed-leaf': `Renewed the server certificate under the present CA${made.keptKey ? ', with the same key' : ''}`,
  }[made.created];
  print([
    `${what}.`,
    `  names       ${made.names.join(', ')}`,
    `  valid to    ${made.notAfter.toISOString()}`,
    `  CA          ${made.caPath}, valid to ${made.caNotAfter.toISOString()}`,
    `  tls.cert    ${made.certPath}`,
    `  tls.key     ${made.keyPath}`,
    made.created === 'ca-and-leaf'
      ? 'What clients need to trust it: tidegate cert trust'
      : 'A running "tidegate serve" with these files uses it within seconds, for new connections.',
  ]);
}

async function runShow(out: string, command: Command): Promise<void> {
  const now = new Date();
  const found: string[] = await describeManaged(command, now);
  for (const path of [...ownCertificates, ...(await listClients(out))].map((name) => join(out, name))) {
    const pem = await loadPemIfAny(path);
    if (pem !== null) found.push(formatCertificate(parseCertificates(pem, path)[0], resolve(path), now));
  }
  if (found.length === 0) {
    throw new OperatorError(`There is neither ca.crt nor server.crt in ${out}: ${whenNoCa}.`);
  }
  process.stdout.write(found.join('\n'));
}

/** Describes the certificate that Tidegate orders; nothing where the configuration wants none. */
async function describeManaged(command: Command, now: Date): Promise<string[]> {
  const { configPath, flavor, set } = readConfigOptions(command);
  const isNamed = configPath !== undefined || flavor !== undefined || set.length > 0;
  const loaded = await loadConfig(readConfigOptions(command)).catch((error: unknown) => {
    if (isNamed || !(error instanceof OperatorError)) throw error;
    return null; // it is for the service, and this command can do without
  });
  const folder = loaded === null ? null : findAcmeFolder(loaded.config);
  return folder === null || loaded === null
    ? []
    : [await formatManaged(folder, loaded.config.tls.acme.hosts, now)];
}

/** Lists the client certificates: all other files beside their CA. */
async function listClients(out: string): Promise<string[]> {
  if (!existsSync(join(out, 'client-ca.crt'))) return [];
  const names = (await readdir(out)).filter((name) => name.endsWith('.crt'));
  return names.filter((name) => !ownCertificates.includes(name)).sort();
}

async function runTrust(options: { out: string; host?: ServerName; port: number }): Promise<void> {
  const caPath = join(options.out, 'ca.crt');
  parseCertificates(await loadPem(caPath, whenNoCa), caPath);
  const hosts = await chooseHosts(join(options.out, 'server.crt'), options.host);
  process.stdout.write(formatTrustSteps({ caPath: resolve(caPath), hosts, port: options.port }));
}

/** The names in the steps: the requested one, if the certificate covers it, else all but wildcards. */
async function chooseHosts(certPath: string, host: ServerName | undefined): Promise<string[]> {
  const pem = await loadPemIfAny(certPath);
  const leaf = pem === null ? null : parseCertificates(pem, certPath)[0];
  if (host !== undefined) {
    if (leaf !== null && leaf[host.kind === 'ip' ? 'checkIP' : 'checkHost'](host.value) === undefined) {
      throw new OperatorError(
        `${certPath} is not valid for ${host.value}: renew it with "tidegate cert create --host" and all its names.`,
      );
    }
    return [host.value];
  }
  const names = parseAltNames(leaf?.subjectAltName).map(({ value }) => value);
  const hosts = names.filter((name) => !name.startsWith('*.'));
  if (hosts.length === 0) {
    throw new OperatorError(`${certPath} names no single host: name the one that clients use with --host.`);
  }
  return hosts;
}

function print(lines: readonly string[]): void {
  process.stdout.write(lines.join('\n') + '\n');
}
