import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContextOptions,
} from 'node:tls';
import { judgePort, judgeResolution, tryConnect, type Resolution } from './addresses.ts';
import {
  judgeChain,
  judgeKey,
  judgeLifetime,
  judgeName,
  judgeServed,
  judgeVersions,
} from './certificate-checks.ts';
import { skipAll } from '../check.ts';
import { wayOut, type ClientCheck, type ClientOptions, type Found } from './client-check.ts';
import { describeFailure, wantsClientCertificate } from '../failure.ts';
import { broken, ok, skipped, type Finding } from '../finding.ts';
import { findTlsVersions, shakeHands, type Handshake } from './handshake.ts';
import { createSender, type Sender } from './http-sender.ts';
import { exchangePlainly } from './plain-exchange.ts';
import { formatPlainRequest, judgePlainHttp } from './plain-http.ts';
import { formatAuthority, type Target } from './target.ts';
import { createTimeLimit } from '../time-limit.ts';

const connectLimitMs = 4000;

/** From the name to an answered request; fills in what later checks need. */
export function listConnectionChecks(options: ClientOptions, found: Found): ClientCheck[] {
  const { target, trust, clientCertificate, nowMs } = options;
  const host = target.name.value;
  const authority = formatAuthority(target);
  const servername = target.name.kind === 'dns' ? host : '';
  const credentials: SecureContextOptions = { ca: [...trust.ca], ...clientCertificate };
  let resolution: Resolution | undefined;

  return [
    {
      ids: ['dns'],
      limitMs: 5000,
      fix: 'is a name server reachable? (/etc/resolv.conf)',
      needs: 'nothing',
      run: async () => {
        resolution = await resolve(host);
        return [judgeResolution(target, resolution)];
      },
    },
    {
      ids: ['port'],
      limitMs: 5000,
      fix: 'does a firewall drop packets to this port?',
      needs: 'nothing',
      run: async (_, signal) => {
        const addresses = addressesOf(resolution, target);
        if (addresses.length === 0) return [skipped('port', 'There is no address to connect to.')];
        const limit = createTimeLimit(signal, connectLimitMs);
        const tries = addresses.map(
          async (address) => [address, await tryConnect(address, target.port, limit.signal)] as const,
        );
        const failures = new Map(await Promise.all(tries));
        limit.end();
        const reached = addresses.find((address) => failures.get(address) === null);
        if (reached !== undefined) found.address = reached;
        return [judgePort(target.port, failures)];
      },
    },
    {
      ids: ['plain-http'],
      limitMs: 4000,
      fix: wayOut,
      needs: 'address',
      run: async ({ address }, signal) => [
        judgePlainHttp(
          await exchangePlainly({ host: address, port: target.port }, formatPlainRequest(authority), signal),
        ),
      ],
    },
    {
      ids: ['tls.handshake', 'tls.chain', 'tls.name', 'tls.lifetime', 'tls.key', 'tls.served'],
      limitMs: 6000,
      fix: wayOut,
      needs: 'address',
      run: async ({ address }, signal) => {
        const place = { host: address, port: target.port, servername };
        const shaken = await tryHandshake(() => shakeHands(place, credentials, signal));
        if ('failure' in shaken) return shaken.failure;
        found.handshake = shaken;
        const { chain, protocol, ms } = shaken;
        const verdicts = [
          judgeChain(shaken, trust),
          judgeName(chain[0], target.name),
          judgeLifetime(chain, new Date(nowMs())),
        ];
        found.isVerified = verdicts.every(({ state }) => state !== 'broken');
        return [
          ok('tls.handshake', `TLS is spoken (${protocol}), the handshake took ${Math.round(ms)} ms.`),
          ...verdicts,
          judgeKey(chain[0]),
          options.onDisk === null
            ? skipped('tls.served', 'There is no certificate of a configuration to compare with.')
            : judgeServed(chain[0], options.onDisk.leaf, options.onDisk.path),
        ];
      },
    },
    {
      ids: ['tls.versions'],
      limitMs: 6000,
      fix: wayOut,
      needs: 'tls',
      run: async ({ address }, signal) => [
        judgeVersions(await findTlsVersions({ host: address, port: target.port, servername }, signal)),
      ],
    },
    {
      ids: ['http'],
      limitMs: 12_000,
      fix: wayOut,
      needs: 'tls',
      run: async ({ address }, signal) => {
        const send = createSender({
          address,
          port: target.port,
          authority,
          tls: {
            servername,
            secureContext: createSecureContext(credentials),
            rejectUnauthorized: found.isVerified,
            checkServerIdentity: (_: string, certificate: PeerCertificate) =>
              found.isVerified ? checkServerIdentity(host, certificate) : undefined,
          },
        });
        return [await tryHttp(send, found, clientCertificate !== null, signal)];
      },
    },
  ];
}

async function resolve(host: string): Promise<Resolution> {
  try {
    const found = await lookup(host, { all: true });
    return { addresses: [...new Set(found.map(({ address }) => address))] };
  } catch (error) {
    return { failure: describeFailure(error) };
  }
}

function addressesOf(
  resolution: Resolution | undefined,
  { name, fallbackAddress }: Target,
): readonly string[] {
  if (isIP(name.value) !== 0) return [name.value];
  if (resolution !== undefined && 'addresses' in resolution) return resolution.addresses;
  return fallbackAddress === null ? [] : [fallbackAddress];
}

async function tryHandshake(shake: () => Promise<Handshake>): Promise<Handshake | { failure: Finding[] }> {
  try {
    return await shake();
  } catch (error) {
    const rest = ['tls.chain', 'tls.name', 'tls.lifetime', 'tls.key', 'tls.served'];
    const first = broken(
      'tls.handshake',
      `No TLS connection comes about: ${describeFailure(error)}.`,
      'does Tidegate listen on this port, or another program? (ss -ltnp)',
    );
    return { failure: [first, ...skipAll(rest, 'There is no TLS connection.')] };
  }
}

/** With TLS 1.3 a server says only after the handshake that it misses a client certificate. */
async function tryHttp(
  send: Sender,
  found: Found,
  showsCertificate: boolean,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    const { status, ms } = await send({ method: 'GET', path: '/v2/' }, signal);
    found.send = send;
    return ok('http', `HTTP/1.1 is answered (${status}), after ${Math.round(ms)} ms.`);
  } catch (error) {
    if (!wantsClientCertificate(error)) {
      return broken('http', `HTTPS requests are not answered: ${describeFailure(error)}.`, wayOut);
    }
    return showsCertificate
      ? broken(
          'http',
          'The server refuses the client certificate.',
          'give one that a CA of tls.clientCa has signed for clients, with --client-cert FILE --client-key FILE',
        )
      : skipped(
          'http',
          'The server demands a client certificate.',
          'give one with --client-cert FILE --client-key FILE',
        );
  }
}
