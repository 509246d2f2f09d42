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
import { skipAll } from '../../check.ts';
import { wayOut, type ClientCheck, type ClientOptions, type Found } from '../client-check.ts';
import { describeFailure, wantsClientCertificate } from '../../failure.ts';
import { broken, ok, skipped, type Finding } from '../../finding.ts';
import { findTlsVersions, shakeHands, type Handshake, type TlsPlace } from './handshake.ts';
import { createSender, type Sender } from '../http-sender.ts';
import { exchangePlainly } from './plain-exchange.ts';
import { formatPlainRequest, judgePlainHttp } from './plain-http.ts';
import { formatAuthority, type Target } from '../target.ts';
import { createTimeLimit } from '../../../system/time-limit.ts';

const connectLimitMs = 4000;

/** The checks from the name to an answered request; they record results for later checks. */
export function listConnectionChecks(options: ClientOptions, found: Found): ClientCheck[] {
  const { target, trust, clientCertificate } = options;
  const subject: Subject = {
    options,
    found,
    authority: formatAuthority(target),
    servername: target.name.kind === 'dns' ? target.name.value : '',
    credentials: { ca: [...trust.ca], ...clientCertificate },
  };

  return [
    {
      ids: ['dns'],
      limitMs: 5000,
      fix: 'is a name server reachable? (/etc/resolv.conf)',
      needs: 'nothing',
      run: async () => [await resolveName(subject)],
    },
    {
      ids: ['port'],
      limitMs: 5000,
      fix: 'does a firewall drop packets to this port?',
      needs: 'nothing',
      run: async (_, signal) => [await tryPort(subject, signal)],
    },
    {
      ids: ['plain-http'],
      limitMs: 4000,
      fix: wayOut,
      needs: 'address',
      run: async ({ address }, signal) => [await tryPlainHttp(subject, address, signal)],
    },
    {
      ids: ['tls.handshake', 'tls.chain', 'tls.name', 'tls.lifetime', 'tls.key', 'tls.served'],
      limitMs: 6000,
      fix: wayOut,
      needs: 'address',
      run: ({ address }, signal) => tryHandshake(subject, address, signal),
    },
    {
      ids: ['tls.versions'],
      limitMs: 6000,
      fix: wayOut,
      needs: 'tls',
      run: async ({ address }, signal) => [
        judgeVersions(await findTlsVersions(tlsPlaceOf(subject, address), signal)),
      ],
    },
    {
      ids: ['http'],
      limitMs: 12_000,
      fix: wayOut,
      needs: 'tls',
      run: async ({ address }, signal) => [await tryHttps(subject, address, signal)],
    },
  ];
}

/** The subject of these checks. */
type Subject = {
  readonly options: ClientOptions;
  readonly found: Found;
  readonly authority: string;
  /** Empty for an IP address (RFC 6066 section 3). */
  readonly servername: string;
  readonly credentials: SecureContextOptions;
};

async function resolveName({ options: { target }, found }: Subject): Promise<Finding> {
  found.resolution = await resolve(target.name.value);
  return judgeResolution(target, found.resolution);
}

async function resolve(host: string): Promise<Resolution> {
  try {
    const found = await lookup(host, { all: true });
    return { addresses: [...new Set(found.map(({ address }) => address))] };
  } catch (error) {
    return { failure: describeFailure(error) };
  }
}

async function tryPort({ options: { target }, found }: Subject, signal: AbortSignal): Promise<Finding> {
  const addresses = addressesOf(found.resolution, target);
  if (addresses.length === 0) return skipped('port', 'There is no address to connect to.');
  const limit = createTimeLimit(signal, connectLimitMs);
  const tries = addresses.map(
    async (address) => [address, await tryConnect(address, target.port, limit.signal)] as const,
  );
  const failures = new Map(await Promise.all(tries));
  limit.end();
  const reached = addresses.find((address) => failures.get(address) === null);
  if (reached !== undefined) found.address = reached;
  return judgePort(target.port, failures);
}

function addressesOf(
  resolution: Resolution | undefined,
  { name, fallbackAddress }: Target,
): readonly string[] {
  if (isIP(name.value) !== 0) return [name.value];
  if (resolution !== undefined && 'addresses' in resolution) return resolution.addresses;
  return fallbackAddress === null ? [] : [fallbackAddress];
}

async function tryPlainHttp(
  { options: { target }, authority }: Subject,
  address: string,
  signal: AbortSignal,
): Promise<Finding> {
  const request = formatPlainRequest(authority);
  return judgePlainHttp(await exchangePlainly({ host: address, port: target.port }, request, signal));
}

function tlsPlaceOf({ options, servername }: Subject, address: string): TlsPlace {
  return { host: address, port: options.target.port, servername };
}

async function tryHandshake(
  subject: Subject,
  address: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let handshake: Handshake;
  try {
    handshake = await shakeHands(tlsPlaceOf(subject, address), subject.credentials, signal);
  } catch (error) {
    const rest = ['tls.chain', 'tls.name', 'tls.lifetime', 'tls.key', 'tls.served'];
    const first = broken(
      'tls.handshake',
      `No TLS connection can be made: ${describeFailure(error)}.`,
      'does Tidegate listen on this port, or another program? (ss -ltnp)',
    );
    return [first, ...skipAll(rest, 'There is no TLS connection.')];
  }
  subject.found.handshake = handshake;
  return judgeHandshake(subject, handshake);
}

function judgeHandshake({ options, found }: Subject, handshake: Handshake): Finding[] {
  const { chain, protocol, ms } = handshake;
  const { target, trust, nowMs, onDisk } = options;
  const verdicts = [
    judgeChain(handshake, trust),
    judgeName(chain[0], target.name),
    judgeLifetime(chain, new Date(nowMs())),
  ];
  found.isVerified = verdicts.every(({ state }) => state !== 'broken');
  return [
    ok('tls.handshake', `TLS is spoken (${protocol}), the handshake took ${Math.round(ms)} ms.`),
    ...verdicts,
    judgeKey(chain[0]),
    onDisk === null
      ? skipped('tls.served', 'There is no certificate of a configuration to compare with.')
      : judgeServed(chain[0], onDisk.leaf, onDisk.path),
  ];
}

function tryHttps(
  { options, found, authority, servername, credentials }: Subject,
  address: string,
  signal: AbortSignal,
): Promise<Finding> {
  const { target, clientCertificate } = options;
  const { isVerified } = found;
  const send = createSender({
    address,
    port: target.port,
    authority,
    tls: {
      servername,
      secureContext: createSecureContext(credentials),
      rejectUnauthorized: isVerified,
      checkServerIdentity: (_: string, certificate: PeerCertificate) =>
        isVerified ? checkServerIdentity(target.name.value, certificate) : undefined,
    },
  });
  return trySender(send, found, clientCertificate !== null, signal);
}

/** With TLS 1.3 a server reports a missing client certificate only after the handshake. */
async function trySender(
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
