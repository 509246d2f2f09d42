import { constants } from 'node:crypto';
import type { Server, ServerOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { OperatorError } from '../system/operator-error.ts';

export type ListenerTls = {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: SecureVersion;
  /** PEM of the CAs whose client certificates are demanded; null: none is. */
  readonly clientCa: string | null;
};

/**
 * The cipher suites, the preferred first: of those that encrypt and authenticate at once, with a key that a later theft
 * of the certificate's does not reveal (RFC 9325 section 4.2). AES-128 is as safe here as AES-256, and measurably cheaper.
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

/** With it a recording of today stays secret from tomorrow's quantum computers; OpenSSL has it from 3.5 on. */
const hybrid = 'X25519MLKEM768';

/**
 * The groups for the key exchange, in the form of node:tls' ecdhCurve: those that cost the server about as little as the
 * client. OpenSSL's own list goes on to ffdhe8192, with which a client that computes nothing itself has the server
 * compute for a tenth of a second (CVE-2002-20001). Every client of TLS 1.3 knows P-256 (RFC 8446 section 9.1).
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

/** What node:tls makes the context of a handshake from. */
function secureContextOptions({ cert, key, minVersion, clientCa }: ListenerTls): SecureContextOptions {
  // In TLS 1.2 a client may ask for a new handshake on its connection, which costs the server a signature and serves nobody here.
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
  const ca = clientCa === null ? {} : { ca: clientCa };
  return { cert, key, minVersion, ciphers, ecdhCurve: keyExchangeGroups, secureOptions, ...ca };
}

/** What an HTTPS server makes its handshakes from. */
export function tlsServerOptions(tls: ListenerTls): ServerOptions {
  return {
    ...secureContextOptions(tls),
    ...(tls.clientCa === null ? {} : { requestCert: true, rejectUnauthorized: true }),
    ALPNProtocols: ['http/1.1', 'http/1.0'],
  };
}

/** What a server's handshakes demand of clients, and which connections met it. */
export type TlsDemands = {
  /** To be called as a connection's handshake begins. */
  begin(connection: object): void;
  /** Whether as much was demanded when its handshake began as is now: if not, it may have no certificate, or one of a CA that is trusted no more. */
  areMet(connection: object): boolean;
  /** For the handshakes from now on. Gives whether they demand more than those before. */
  use(next: ListenerTls): boolean;
};

export function followTlsDemands(server: Server, first: ListenerTls): TlsDemands {
  let tls = first;
  /** How often more has come to be demanded, and how often it had when a connection's handshake began. */
  let times = 0;
  const timesAtStart = new WeakMap<object, number>();
  return {
    begin: (connection) => timesAtStart.set(connection, times),
    areMet: (connection) => timesAtStart.get(connection) === times,
    use: (next) => {
      // A new context forgets the sessions that clients would resume.
      if (isDeepStrictEqual(next, tls)) return false;
      const demandsMore =
        (next.clientCa !== null && next.clientCa !== tls.clientCa) || next.minVersion > tls.minVersion;
      server.setSecureContext(secureContextOptions(next));
      // What node:tls looks at for each connection; setSecureContext does not set it.
      Object.assign(server, { requestCert: next.clientCa !== null });
      tls = next;
      if (demandsMore) times += 1;
      return demandsMore;
    },
  };
}

/** @throws OperatorError when no handshake could be made with it. */
export function checkTls(tls: ListenerTls): void {
  try {
    createSecureContext(secureContextOptions(tls));
  } catch (error) {
    throw new OperatorError(`tls.cert or tls.clientCa can't be used: ${(error as Error).message}.`);
  }
}
