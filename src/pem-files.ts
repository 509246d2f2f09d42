import type { Config } from './config/schema.ts';
import { loadServerCertificate } from './tls/certificate.ts';
import { loadUpstreamCa } from './tls/upstream-ca.ts';

/** What is in the PEM files that a configuration names, read and checked; plain data, so that processes can pass it on. */
export type PemFiles = {
  readonly cert: string;
  readonly key: string;
  /** The CAs whose client certificates are demanded; null: none is. */
  readonly clientCa: string | null;
  /** The CAs that upstream is verified with; null: the public ones. */
  readonly upstreamCa: string | null;
  /** The host names and addresses in the server's certificate. */
  readonly names: readonly string[];
  /** When it ends, in milliseconds since 1970. */
  readonly notAfterMs: number;
};

/**
 * Loads them all; `warnings` are for the log, one sentence each.
 * @throws OperatorError that names the file and the way out.
 */
export async function loadPemFiles(
  { tls, upstream }: Pick<Config, 'tls' | 'upstream'>,
  now: Date,
): Promise<{ pem: PemFiles; warnings: readonly string[] }> {
  const { cert, key, clientCa, names, notAfter, warnings } = await loadServerCertificate({
    certPath: tls.cert,
    keyPath: tls.key,
    clientCaPath: tls.clientCa,
    now,
  });
  const upstreamCa = upstream.ca === null ? null : await loadUpstreamCa(upstream.ca);
  return { pem: { cert, key, clientCa, upstreamCa, names, notAfterMs: notAfter.getTime() }, warnings };
}

/** The files that {@link loadPemFiles} reads. */
export function listPemFiles({ tls, upstream }: Pick<Config, 'tls' | 'upstream'>): string[] {
  return [tls.cert, tls.key, tls.clientCa, upstream.ca].filter((path) => path !== null);
}
