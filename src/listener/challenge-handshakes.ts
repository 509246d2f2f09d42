import type { Socket } from 'node:net';
import { createSecureContext, createServer, type SecureContext } from 'node:tls';
import { parseClientHello, type ClientHello } from './client-hello.ts';
import { readFirstBytes } from './first-bytes.ts';

/** The certificates that answer checks of a CA, by host. PEM. */
export type ChallengeCertificates = Readonly<Record<string, { readonly cert: string; readonly key: string }>>;

/**
 * Answers the handshakes with which a CA checks a host (tls-alpn-01, RFC 8737). They demand no client certificate, and end
 * with the handshake.
 */
export type ChallengeHandshakes = {
  /** Takes the certificates of the checks that are to come. */
  use(certificates: ChallengeCertificates): void;
  /** Call it with each connection before TLS. Begins TLS with `startTls` on all but those of a CA's check. */
  begin(socket: Socket, startTls: () => void): void;
};

/** RFC 8737 section 6.2. */
const protocol = 'acme-tls/1';

export function createChallengeHandshakes({
  timeoutMs,
}: {
  readonly timeoutMs: number;
}): ChallengeHandshakes {
  const contexts = new Map<string, SecureContext>();
  const server = createServer(
    {
      ALPNProtocols: [protocol],
      SNICallback: (name, done) => done(null, contexts.get(name.toLowerCase())),
      handshakeTimeout: timeoutMs,
    },
    (socket) => {
      socket.on('error', () => {});
      // Whoever does not end its side must not keep the connection.
      const ending = setTimeout(() => socket.destroy(), timeoutMs);
      socket.once('close', () => clearTimeout(ending));
      socket.end();
    },
  );
  server.on('tlsClientError', (_error, socket) => socket.destroy());

  // Alone, as section 3 demands: whoever speaks HTTP as well is a client.
  const isCheck = ({ serverName, protocols }: ClientHello) =>
    protocols.length === 1 && protocols[0] === protocol && serverName !== null && contexts.has(serverName);
  const parse = (received: Buffer) => {
    const hello = parseClientHello(received);
    // What is no hello is judged where TLS begins.
    return hello === 'incomplete'
      ? hello
      : { value: { isCheck: hello !== null && isCheck(hello) }, lengthBytes: 0 };
  };
  return {
    use: (certificates) => {
      contexts.clear();
      for (const [host, { cert, key }] of Object.entries(certificates))
        contexts.set(host, createSecureContext({ cert, key, minVersion: 'TLSv1.2' }));
    },
    begin: (socket, startTls) => {
      if (contexts.size === 0) {
        startTls();
        return;
      }
      readFirstBytes(socket, timeoutMs, parse, (found) => {
        if (found === null) socket.on('error', () => {}).destroy();
        else if (found.isCheck) server.emit('connection', socket);
        else startTls();
      });
    },
  };
}
