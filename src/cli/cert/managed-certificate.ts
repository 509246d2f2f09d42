import { openAcmeFiles } from '../../acme/acme-files.ts';
import { formatCertificate } from '../../tls/issue/certificate-summary.ts';
import { managedCertificatePath } from '../../tls/managed-certificate.ts';

/** Describes the certificate that Tidegate orders for these hosts, and its orders. @returns lines, the last one ended */
export async function formatManaged(folder: string, hosts: readonly string[], now: Date): Promise<string> {
  const path = managedCertificatePath(folder);
  const files = openAcmeFiles(folder, '');
  const certificate = await files.certificate();
  const progress = await files.progress();
  if (certificate === null && progress === null)
    return `${path}\n  ordered by "tidegate serve" for ${hosts.join(', ')}; there is none yet, or this user may not read it\n`;
  const rows: [string, string][] = [];
  if (progress !== null) {
    const { directory, renewal, lastFailure, retryAtMs } = progress;
    rows.push(['ordered at', directory]);
    if (renewal !== null)
      rows.push(['renewal', `${formatTime(renewal.atMs)}${renewal.isSetByCa ? ', as the CA suggests' : ''}`]);
    if (lastFailure !== null) rows.push(['last try', `${formatTime(lastFailure.atMs)}: ${lastFailure.text}`]);
    if (retryAtMs !== null && retryAtMs > now.getTime()) rows.push(['next try', formatTime(retryAtMs)]);
  }
  const shown =
    certificate === null ? `${path} does not exist yet\n` : formatCertificate(certificate.leaf, path, now);
  return `${shown}${rows.map(([label, value]) => `  ${label.padEnd(10)}  ${value}\n`).join('')}`;
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
