import { loadTokenSecrets } from './auth/token-secrets.ts';
import type { Config } from './config/schema.ts';
import { loadServerCertificate } from './tls/certificate.ts';
import { loadUpstreamCa } from './tls/upstream-ca.ts';

/** What is in the PEM files, and the files with secrets, that a configuration names, read and checked; plain data, so that processes can pass it on. */
export type PemFiles = {
  readonly cert: string;
  readonly key: string;
  /** The CAs whose client certificates are demanded; null: none is. */
  readonly clientCa: string | null;
  /** The CAs that upstream is verified with; null: the public ones. */
  readonly upstreamCa: string | null;
  /** The secrets of tokens; the first signs. */
  readonly tokenSecrets: readonly string[];
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
  { tls, upstream, auth }: Pick<Config, 'tls' | 'upstream' | 'auth'>,
  now: Date,
): Promise<{ pem: PemFiles; warnings: readonly string[] }> {
  const { cert, key, clientCa, names, notAfter, warnings } = await loadServerCertificate({
    certPath: tls.cert,
    keyPath: tls.key,
    clientCaPath: tls.clientCa,
    now,
  });
  const upstreamCa = upstream.ca === null ? null : await loadUpstreamCa(upstream.ca);
  const tokens = await loadTokenSecrets(auth.tokenKeys);
  const pem = { cert, key, clientCa, upstreamCa, tokenSecrets: tokens.secrets };
  return {
    pem: { ...pem, names, notAfterMs: notAfter.getTime() },
    warnings: [...warnings, ...tokens.warnings],
  };
}

/** The files that {@link loadPemFiles} reads. */
export function listPemFiles({ tls, upstream, auth }: Pick<Config, 'tls' | 'upstream' | 'auth'>): string[] {
  return [tls.cert, tls.key, tls.clientCa, upstream.ca, ...auth.tokenKeys].filter((path) => path !== null);
}
