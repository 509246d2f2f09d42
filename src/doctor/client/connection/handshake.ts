import { X509Certificate } from 'node:crypto';
import {
  connect,
  createSecureContext,
  type ConnectionOptions,
  type DetailedPeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import { codeOf } from '../../failure.ts';

/** The server to connect to; `servername` is empty for an IP address (RFC 6066 section 3). */
export type TlsPlace = { readonly host: string; readonly port: number; readonly servername: string };

/** The result of a TLS handshake. */
export type Handshake = {
  /** The server's own certificate first; the root last, if known. */
  readonly chain: readonly [X509Certificate, ...X509Certificate[]];
  /** OpenSSL's fault of the chain, ignoring names; null if it is verified. */
  readonly fault: string | null;
  readonly protocol: string;
  readonly ms: number;
};

/** All versions that OpenSSL supports, oldest first. */
export const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof tlsVersions)[number];

/**
 * Performs a handshake whatever the certificate is, and returns the result. @throws Error with a code when there is no
 * TLS.
 */
export async function shakeHands(
  place: TlsPlace,
  credentials: SecureContextOptions,
  signal: AbortSignal,
): Promise<Handshake> {
  const startedMs = performance.now();
  const socket = await openTls({ ...place, ...credentials }, signal);
  try {
    const [leaf, ...rest] = readChain(socket);
    if (leaf === undefined) throw Object.assign(new Error('it sends no certificate'), { code: 'EPROTO' });
    return {
      chain: [leaf, ...rest],
      // Typed as an Error, but it is OpenSSL's code.
      fault: socket.authorized ? null : String(socket.authorizationError),
      protocol: socket.getProtocol() ?? 'unknown',
      ms: performance.now() - startedMs,
    };
  } finally {
    socket.destroy();
  }
}

/** Finds the versions that a server supports; null for one that this machine's OpenSSL cannot offer. */
export async function findTlsVersions(
  place: TlsPlace,
  signal: AbortSignal,
): Promise<ReadonlyMap<TlsVersion, boolean | null>> {
  const found = await Promise.all(
    tlsVersions.map(async (version) => [version, await speaks(place, version, signal)] as const),
  );
  return new Map(found);
}

async function speaks(place: TlsPlace, version: TlsVersion, signal: AbortSignal): Promise<boolean | null> {
  try {
    // The old versions need algorithms that the default security level forbids.
    const secureContext = createSecureContext({
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    (await openTls({ ...place, secureContext }, signal)).destroy();
    return true;
  } catch (error) {
    const code = codeOf(error) ?? '';
    const isOurs = /NO_PROTOCOLS_AVAILABLE|NO_CIPHERS|INVALID_COMMAND|NO_CIPHER_MATCH/.test(code);
    if (isOurs || signal.aborted || code.startsWith('ECONNREFUSED')) return null;
    return false;
  }
}

function openTls(options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, rejectUnauthorized: false, checkServerIdentity: () => undefined });
    const cut = () =>
      socket.destroy(Object.assign(new Error('no answer came in time'), { code: 'ETIMEDOUT' }));
    if (signal.aborted) cut();
    signal.addEventListener('abort', cut, { once: true });
    socket.once('secureConnect', () => resolve(socket));
    socket.on('error', reject);
    socket.once('close', () => {
      signal.removeEventListener('abort', cut);
      reject(Object.assign(new Error('the connection was cut'), { code: 'ECONNRESET' }));
    });
  });
}

function readChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let next: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true);
  while (next?.raw !== undefined) {
    const certificate = new X509Certificate(next.raw);
    // A root is its own issuer.
    if (seen.has(certificate.fingerprint256)) break;
    seen.add(certificate.fingerprint256);
    chain.push(certificate);
    next = next.issuerCertificate;
  }
  return chain;
}
