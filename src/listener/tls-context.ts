import { constants } from 'node:crypto';
import type { Server, ServerOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { OperatorError } from '../system/operator-error.ts';

export type ListenerTls = {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: SecureVersion;
  /** PEM of the CAs for client certificates; null: none are demanded. */
  readonly clientCa: string | null;
};

/**
 * The cipher suites, preferred first: authenticated encryption with forward secrecy only (RFC 9325 section 4.2).
 * AES-128 is as safe here as AES-256, and measurably cheaper.
 */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** Protects today's recordings from future quantum computers; OpenSSL has it since 3.5. */
const hybrid = 'X25519MLKEM768';

/**
 * The groups for the key exchange, in the form of node:tls' ecdhCurve: those that cost the server about as little as
 * the client. OpenSSL's own list includes ffdhe8192, with which a client can make the server compute for a tenth of a
 * second without computing anything itself (CVE-2002-20001). Every client of TLS 1.3 knows P-256 (RFC 8446 section
 * 9.1).
 */
const keyExchangeGroups = [...(isKnown(hybrid) ? [hybrid] : []), 'X25519', 'P-256', 'P-384'].join(':');

function isKnown(group: string): boolean {
  try {
    createSecureContext({ ecdhCurve: group });
    return true;
  } catch {
    return false;
  }
}

/** The options of node:tls for the context of a handshake. */
function secureContextOptions({ cert, key, minVersion, clientCa }: ListenerTls): SecureContextOptions {
  // In TLS 1.2 a client may renegotiate, which costs the server a signature and has no use here.
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
  const ca = clientCa === null ? {} : { ca: clientCa };
  return { cert, key, minVersion, ciphers, ecdhCurve: keyExchangeGroups, secureOptions, ...ca };
}

/** The options of an HTTPS server for its handshakes. */
export function tlsServerOptions(tls: ListenerTls): ServerOptions {
  return {
    ...secureContextOptions(tls),
    ...(tls.clientCa === null ? {} : { requestCert: true, rejectUnauthorized: true }),
    ALPNProtocols: ['http/1.1', 'http/1.0'],
  };
}

/** What a server's handshakes demand of clients, and which connections satisfied it. */
export type TlsDemands = {
  /** Call it when a connection's handshake begins. */
  begin(connection: object): void;
  /**
   * Whether its handshake demanded as much as is demanded now: if not, it may lack a certificate, or have one of a CA
   * that is no longer trusted.
   */
  areMet(connection: object): boolean;
  /** Applies to later handshakes. Returns whether they demand more than earlier ones. */
  use(next: ListenerTls): boolean;
};

export function followTlsDemands(server: Server, first: ListenerTls): TlsDemands {
  let tls = first;
  /** The number of such increases, in all and when each connection's handshake began. */
  let times = 0;
  const timesAtStart = new WeakMap<object, number>();
  return {
    begin: (connection) => timesAtStart.set(connection, times),
    areMet: (connection) => timesAtStart.get(connection) === times,
    use: (next) => {
      // A new context forgets sessions that clients would resume.
      if (isDeepStrictEqual(next, tls)) return false;
      const demandsMore =
        (next.clientCa !== null && next.clientCa !== tls.clientCa) || next.minVersion > tls.minVersion;
      server.setSecureContext(secureContextOptions(next));
      // node:tls reads these for each connection; setSecureContext does not set them.
      Object.assign(server, { requestCert: next.clientCa !== null });
      tls = next;
      if (demandsMore) times += 1;
      return demandsMore;
    },
  };
}

/** @throws OperatorError when no handshake could succeed with it. */
export function checkTls(tls: ListenerTls): void {
  try {
    createSecureContext(secureContextOptions(tls));
  } catch (error) {
    throw new OperatorError(`tls.cert or tls.clientCa can't be used: ${(error as Error).message}.`);
  }
}
