import { createSecureContext } from 'node:tls';

/** With it a recording of today stays secret from tomorrow's quantum computers; OpenSSL has it from 3.5 on. */
const hybrid = 'X25519MLKEM768';

/**
 * The groups for the key exchange, in the form of node:tls' ecdhCurve: those that cost the server about as little as the
 * client. OpenSSL's own list goes on to ffdhe8192, with which a client that computes nothing itself has the server
 * compute for a tenth of a second (CVE-2002-20001). Every client of TLS 1.3 knows P-256 (RFC 8446 section 9.1).
 */
export const keyExchangeGroups = [...(isKnown(hybrid) ? [hybrid] : []), 'X25519', 'P-256', 'P-384'].join(':');

function isKnown(group: string): boolean {
  try {
    createSecureContext({ ecdhCurve: group });
    return true;
  } catch {
    return false;
  }
}
