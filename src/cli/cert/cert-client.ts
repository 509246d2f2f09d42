import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import {
  createClientCertificates,
  defaultClientDays,
  parseClientName,
  type CreatedClient,
} from '../../tls/issue/client-certificates.ts';
import { formatClientSteps } from '../../tls/issue/client-steps.ts';
import { loadPemIfAny, parseCertificates } from '../../tls/pem.ts';
import { parseAltNames, type ServerName } from '../../tls/server-name.ts';
import { collect, outOption, parseDays, parseHost, parsePort } from './cert-options.ts';

type Options = { out: string; days: number; host?: ServerName; port: number };

/** Adds `cert client`. */
export function addCertClientCommand(cert: Command): void {
  cert
    .command('client')
    .description('make or renew client certificates, for tls.clientCa, and show the steps for each client')
    .argument('<names>', 'names of people or machines, comma-separated', collect(parseClientName))
    .option(...outOption)
    .option('--days <days>', 'lifetime of the certificates', parseDays, defaultClientDays)
    .option(
      '--host <name>',
      'the host name that clients use (default: that of the server certificate)',
      parseHost,
    )
    .option('--port <port>', 'the port that clients use', parsePort, 443)
    .action(runClient);
}

async function runClient(names: string[], options: Options): Promise<void> {
  const { out, days, port } = options;
  const { caPath, madeCa, caNotAfter, clients } = await createClientCertificates({
    outDir: out,
    names,
    days,
    now: new Date(),
  });
  const [first, ...others] = clients;
  if (first === undefined) return;
  const serverCaPath = join(out, 'ca.crt');
  const lines = [
    ...(madeCa ? [`Made a CA for client certificates, valid to ${caNotAfter.toISOString()}.`] : []),
    ...clients.map(formatClient),
    '',
    `To demand such a certificate of every client, health checks included, set  tls.clientCa: ${resolve(caPath)}`,
    `${resolve(join(out, 'client-ca.key'))} can issue more of them: keep it secret, best on another machine.`,
    '',
    formatClientSteps({
      certPath: resolve(first.certPath),
      keyPath: resolve(first.keyPath),
      caPath: existsSync(serverCaPath) ? resolve(serverCaPath) : null,
      host: options.host?.value ?? (await findHost(join(out, 'server.crt'))),
      port,
    }),
  ];
  if (others.length > 0) {
    lines.push(`The same for ${others.map(({ name }) => name).join(', ')}, each with its own two files.\n`);
  }
  process.stdout.write(lines.join('\n'));
}

function formatClient({ name, certPath, keyPath, keptKey, notAfter }: CreatedClient): string {
  return [
    `${keptKey ? 'Renewed' : 'Made'} the certificate of ${name}${keptKey ? ', with the same key' : ''}.`,
    `  valid to    ${notAfter.toISOString()}`,
    `  files       ${resolve(certPath)}, ${resolve(keyPath)}`,
  ].join('\n');
}

/** Finds the first name of the server's certificate that is not a wildcard; null when there is none. */
async function findHost(certPath: string): Promise<string | null> {
  const pem = await loadPemIfAny(certPath);
  if (pem === null) return null;
  const names = parseAltNames(parseCertificates(pem, certPath)[0].subjectAltName);
  return names.find(({ value }) => !value.startsWith('*.'))?.value ?? null;
}
