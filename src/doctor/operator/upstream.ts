import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate } from 'node:tls';
import type { Config } from '../../config/schema/schema.ts';
import { loadUpstreamCa } from '../../app/pem-files.ts';
import type { Check } from '../check.ts';
import { describeFailure } from '../failure.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import { createSender, type HttpAnswer, type Send } from '../client/http-sender.ts';
import { findExposure, outerAddresses } from './listening-sockets.ts';
import { isLoopback } from './loopback.ts';

type UpstreamConfig = Config['upstream'];

const unknownDigest = `sha256:${'0'.repeat(64)}`;
const bindFix =
  "in the registry's configuration http.addr: 127.0.0.1:PORT (docker run -p 127.0.0.1:PORT:5000), and restart it";

/** The checks of the registry, as this machine and others see it. */
export function createUpstreamChecks(config: UpstreamConfig): Check[] {
  const place = readPlace(config.url);
  const { host, port } = place;
  const fix = `systemctl status tidegate-registry (or docker-registry); is upstream.url: ${config.url} right${place.isSecure ? ', and upstream.ca' : ''}?`;
  return [
    {
      ids: ['upstream.answer', 'upstream.delete'],
      limitMs: 10_000,
      fix,
      run: async (signal) => {
        const headers = authorizationOf(config);
        const limitMs = 8000;
        try {
          const send = await openUpstream(config, await addressOf(host), place);
          const answer = await send({ method: 'GET', path: '/v2/', headers, limitMs }, signal);
          const verdict = judgeUpstream(config, answer);
          if (verdict.state !== 'ok')
            return [verdict, skipped('upstream.delete', 'The registry is not usable.')];
          const path = `/v2/tidegate-doctor/blobs/${unknownDigest}`;
          return [verdict, judgeDeletes(await send({ method: 'DELETE', path, headers }, signal))];
        } catch (error) {
          const what = `The registry at ${config.url} cannot be reached: ${describeFailure(error)}.`;
          return [
            broken('upstream.answer', what, fix),
            skipped('upstream.delete', 'The registry is not reached.'),
          ];
        }
      },
    },
    {
      ids: ['upstream.exposed'],
      limitMs: 10_000,
      fix: bindFix,
      run: async (signal) => {
        const address = await addressOf(host).catch(() => null);
        if (address === null) return [skipped('upstream.exposed', `${host} cannot be looked up from here.`)];
        if (!isLoopback(address) && !outerAddresses().includes(address)) {
          return [
            skipped(
              'upstream.exposed',
              `The registry is on another machine (${address}), so who can reach it is not seen from here.`,
              `this must fail everywhere but here: curl ${config.url}/v2/`,
            ),
          ];
        }
        const exposure = await findExposure(port, signal);
        const statuses = await Promise.all(
          exposure.reached.map(async (reached) => {
            const send = await openUpstream(config, reached, place, { rejectUnauthorized: false });
            return { address: reached, ...(await probeAddress(send, signal)) };
          }),
        );
        return [judgeExposure(config.url, exposure.bound, statuses)];
      },
    },
  ];
}

/** Judges the registry's own version check, with the credentials that Tidegate uses. */
export function judgeUpstream(
  { url, username }: Pick<UpstreamConfig, 'url' | 'username'>,
  { status, headers, ms }: Pick<HttpAnswer, 'status' | 'headers' | 'ms'>,
): Finding {
  const check = 'upstream.answer';
  const version = headers['docker-distribution-api-version'];
  if (status === 401) {
    return username === null
      ? broken(
          check,
          `The registry at ${url} requires a password of its own (401).`,
          'upstream.username: NAME and upstream.password: _env:REGISTRY_PASSWORD, or take auth out of its configuration',
        )
      : broken(
          check,
          `The registry at ${url} refuses upstream.username and upstream.password (401).`,
          'set upstream.username and upstream.password to what the registry knows',
        );
  }
  if (status !== 200) {
    return broken(
      check,
      `The registry at ${url} answers /v2/ with ${status}.`,
      'is upstream.url right? Its log says more',
    );
  }
  if (version === undefined) {
    return warning(
      check,
      `What answers at ${url} does not say that it is a registry.`,
      'is upstream.url right, and what listens there? (ss -ltnp)',
    );
  }
  return ok(
    check,
    `The registry at ${url} answers (${quoteForeign(String(version))}, ${Math.round(ms)} ms).`,
  );
}

/** Judges the answer to the deletion of a missing blob: a registry without deletes answers 405. */
export function judgeDeletes({ status }: Pick<HttpAnswer, 'status'>): Finding {
  const check = 'upstream.delete';
  if (status === 404 || status === 202) return ok(check, 'The registry allows deletes.');
  if (status === 405) {
    return ok(
      check,
      'The registry does not allow deletes, so its disk only fills.',
      "if images are to be deleted, in the registry's configuration storage.delete.enabled: true",
    );
  }
  return skipped(check, `Whether the registry deletes cannot be told from its ${status}.`);
}

/** The answer at one of this machine's outer addresses; status 0 for no HTTP. */
export type OuterAnswer = { readonly address: string; readonly status: number; readonly isRegistry: boolean };

/** Judges whether the registry can be reached around Tidegate; `bound` lists the addresses with a listener on its port. */
export function judgeExposure(
  url: string,
  bound: readonly string[] | null,
  outer: readonly OuterAnswer[],
): Finding {
  const check = 'upstream.exposed';
  const open = outer.filter(({ status, isRegistry }) => isRegistry && status !== 401);
  const withPassword = outer.filter(({ status, isRegistry }) => isRegistry && status === 401);
  const wide = (bound ?? []).filter((address) => !isLoopback(address));
  if (open.length > 0) {
    const where = open.map(({ address }) => address).join(', ');
    return broken(
      check,
      `The registry can be reached around Tidegate, at ${where}: anyone in that network pulls, pushes and deletes without a password.`,
      bindFix,
    );
  }
  if (withPassword.length > 0) {
    const where = withPassword.map(({ address }) => address).join(', ');
    return warning(
      check,
      `The registry can be reached around Tidegate, at ${where}, and asks for a password of its own there.`,
      bindFix,
    );
  }
  // Another program may have the port at an outer address.
  if (outer.length === 0 && wide.length > 0) {
    return warning(
      check,
      `The registry's port is open on ${wide.join(', ')}; it was not reached from here, but others may reach it.`,
      bindFix,
    );
  }
  if (bound?.length === 0) return skipped(check, "Nothing listens on the registry's port.");
  const seen = bound === null ? '' : ` (it listens on ${bound.join(', ')})`;
  return ok(check, `The registry at ${url} cannot be reached from outside${seen}.`);
}

async function probeAddress(
  send: Send,
  signal: AbortSignal,
): Promise<{ status: number; isRegistry: boolean }> {
  try {
    const { status, headers } = await send({ method: 'GET', path: '/v2/', limitMs: 3000 }, signal);
    return { status, isRegistry: 'docker-distribution-api-version' in headers };
  } catch (error) {
    describeFailure(error); // rethrows anything but a network failure
    return { status: 0, isRegistry: false };
  }
}

/** Creates a client for the registry at one address; the certificate is verified for the name in upstream.url. */
async function openUpstream(
  config: UpstreamConfig,
  address: string,
  place: Place,
  further: ConnectionOptions = {},
): Promise<Send> {
  const { host, port, authority, isSecure } = place;
  const ca = config.ca === null ? {} : { ca: (await loadUpstreamCa(config.ca)).pem };
  const tls = {
    ...ca,
    servername: isIP(host) === 0 ? host : '',
    checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
    ...further,
  };
  return createSender({ address, port, authority, tls: isSecure ? tls : null });
}

/** The parts of upstream.url. */
type Place = {
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  readonly isSecure: boolean;
};

function readPlace(text: string): Place {
  const url = new URL(text);
  const isSecure = url.protocol === 'https:';
  const port = url.port === '' ? (isSecure ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, authority: url.host, isSecure };
}

async function addressOf(host: string): Promise<string> {
  return (await lookup(host)).address;
}

function authorizationOf({ username, password }: UpstreamConfig): Record<string, string> {
  if (username === null) return {};
  return { Authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` };
}
