import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate } from 'node:tls';
import type { Config } from '../../config/schema/schema.ts';
import { loadRouteCa, loadUpstreamCa } from '../../app/pem-files.ts';
import type { Check } from '../check.ts';
import { describeFailure } from '../failure.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import { createSender, type HttpAnswer, type HttpRequest, type Send } from '../client/http-sender.ts';
import { findExposure, outerAddresses } from './listening-sockets.ts';
import { isLoopback } from './loopback.ts';
import { namesOfUpstream, type RegistryNames } from './registry-names.ts';

type UpstreamConfig = Config['upstream'];
type RouteConfig = Config['routes'][number];

const unknownDigest = `sha256:${'0'.repeat(64)}`;
const bindFix =
  "in the registry's configuration http.addr: 127.0.0.1:PORT (docker run -p 127.0.0.1:PORT:5000), and restart it";

/**
 * The checks of the registry, as this machine and others see it.
 * @param route the route whose registry it is; null: it is `upstream`
 */
export function createUpstreamChecks(
  config: UpstreamConfig,
  names = namesOfUpstream,
  route: Pick<RouteConfig, 'readOnly' | 'namespaces'> | null = null,
): Check[] {
  const place = readPlace(config.url);
  const { host, port } = place;
  const { group } = names;
  const secure = place.isSecure ? `, and ${names.key('ca')}` : '';
  const fix = `systemctl status tidegate-registry (or docker-registry); is ${names.key('url')}: ${config.url} right${secure}?`;
  const isMirror = route !== null && (route.readOnly || route.namespaces.length > 0);
  const furtherId = `${group}.${isMirror ? 'mirror' : 'delete'}`;
  return [
    {
      ids: [`${group}.answer`, furtherId],
      limitMs: 10_000,
      fix,
      run: async (signal) => {
        const headers = authorizationOf(config);
        const limitMs = 8000;
        try {
          const send = await openUpstream({ config, route }, await addressOf(host), place);
          const answer = await send({ method: 'GET', path: '/v2/', headers, limitMs }, signal);
          const verdict = judgeUpstream(config, answer, names);
          if (verdict.state !== 'ok') return [verdict, skipped(furtherId, 'The registry is not usable.')];
          if (isMirror)
            return [verdict, judgeMirror(await send(newsOfNothing(headers), signal), route, names)];
          const path = `/v2/tidegate-doctor/blobs/${unknownDigest}`;
          return [verdict, judgeDeletes(await send({ method: 'DELETE', path, headers }, signal), names)];
        } catch (error) {
          const what = `The registry at ${config.url} cannot be reached: ${describeFailure(error)}.`;
          return [broken(`${group}.answer`, what, fix), skipped(furtherId, 'The registry is not reached.')];
        }
      },
    },
    {
      ids: [`${group}.exposed`],
      limitMs: 10_000,
      fix: bindFix,
      run: async (signal) => {
        const address = await addressOf(host).catch(() => null);
        if (address === null) return [skipped(`${group}.exposed`, `${host} cannot be looked up from here.`)];
        if (!isLoopback(address) && !outerAddresses().includes(address)) {
          return [
            skipped(
              `${group}.exposed`,
              `The registry is on another machine (${address}), so who can reach it is not seen from here.`,
              `this must fail everywhere but here: curl ${config.url}/v2/`,
            ),
          ];
        }
        const exposure = await findExposure(port, signal);
        const statuses = await Promise.all(
          exposure.reached.map(async (reached) => {
            const further = { rejectUnauthorized: false };
            const send = await openUpstream({ config, route }, reached, place, further);
            return { address: reached, ...(await probeAddress(send, signal)) };
          }),
        );
        return [judgeExposure(config.url, exposure.bound, statuses, names)];
      },
    },
  ];
}

/** Judges the registry's own version check, with the credentials that Tidegate uses. */
export function judgeUpstream(
  { url, username }: Pick<UpstreamConfig, 'url' | 'username'>,
  { status, headers, ms }: Pick<HttpAnswer, 'status' | 'headers' | 'ms'>,
  names: RegistryNames = namesOfUpstream,
): Finding {
  const check = `${names.group}.answer`;
  const version = headers['docker-distribution-api-version'];
  if (status === 401) {
    return username === null
      ? broken(
          check,
          `The registry at ${url} requires a password of its own (401).`,
          `${names.key('username')}: NAME and ${names.key('password')}: _env:REGISTRY_PASSWORD, or take auth out of its configuration`,
        )
      : broken(
          check,
          `The registry at ${url} refuses upstream.username and upstream.password (401).`,
          `set ${names.key('username')} and ${names.key('password')} to what the registry knows`,
        );
  }
  if (status !== 200) {
    return broken(
      check,
      `The registry at ${url} answers /v2/ with ${status}.`,
      `is ${names.key('url')} right? Its log says more`,
    );
  }
  if (version === undefined) {
    return warning(
      check,
      `What answers at ${url} does not say that it is a registry.`,
      `is ${names.key('url')} right, and what listens there? (ss -ltnp)`,
    );
  }
  return ok(
    check,
    `The registry at ${url} answers (${quoteForeign(String(version))}, ${Math.round(ms)} ms).`,
  );
}

/** Judges the answer to the deletion of a missing blob: a registry without deletes answers 405. */
export function judgeDeletes(
  { status }: Pick<HttpAnswer, 'status'>,
  names: RegistryNames = namesOfUpstream,
): Finding {
  const check = `${names.group}.delete`;
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

/**
 * The push of a manifest whose layers no registry has: one that takes pushes says so and stores nothing, one in proxy
 * mode takes none.
 */
function newsOfNothing(headers: Readonly<Record<string, string>>): HttpRequest {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const blob = (type: string) => ({
    mediaType: `application/vnd.oci.image.${type}`,
    digest: unknownDigest,
    size: 2,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: blob('config.v1+json'),
    layers: [blob('layer.v1.tar')],
  };
  return {
    method: 'PUT',
    path: '/v2/tidegate-doctor/manifests/probe',
    headers: { ...headers, 'Content-Type': mediaType },
    body: [Buffer.from(JSON.stringify(manifest))],
  };
}

/** Judges the answer to the push of a manifest without layers: whether the registry is in proxy mode. */
export function judgeMirror(
  { status, headers }: Pick<HttpAnswer, 'status' | 'headers'>,
  { readOnly }: Pick<RouteConfig, 'readOnly'>,
  { group, route }: RegistryNames,
): Finding {
  const check = `${group}.mirror`;
  // A read-only registry has no PUT here, and says so in plain text; one in proxy mode refuses it with an error in JSON.
  const isPlain = headers['content-type']?.startsWith('text/plain') === true;
  if (status === 405 && isPlain && headers.allow !== undefined)
    return warning(
      check,
      'The registry is read-only, not in proxy mode: it serves what it has and fetches nothing.',
      `does its source answer? see the log of the mirror, such as: journalctl -u tidegate-mirror@${route ?? 'NAME'}`,
    );
  if (status === 405)
    return ok(
      check,
      'The registry takes no pushes: it is in proxy mode, and mirrors another one.',
      readOnly ? null : `routes: ${route}: readOnly: true tells clients that push so at once`,
    );
  if (status === 400 || status === 404)
    return ok(
      check,
      'The registry takes pushes, so it is not in proxy mode.',
      "if it is to be a mirror: proxy.remoteurl in the registry's configuration",
    );
  return skipped(check, `Whether the registry is in proxy mode cannot be told from its ${status}.`);
}

/** The answer at one of this machine's outer addresses; status 0 for no HTTP. */
export type OuterAnswer = { readonly address: string; readonly status: number; readonly isRegistry: boolean };

/** Judges whether the registry can be reached around Tidegate; `bound` lists the addresses with a listener on its port. */
export function judgeExposure(
  url: string,
  bound: readonly string[] | null,
  outer: readonly OuterAnswer[],
  { group }: RegistryNames = namesOfUpstream,
): Finding {
  const check = `${group}.exposed`;
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
  { config, route }: { readonly config: UpstreamConfig; readonly route: object | null },
  address: string,
  place: Place,
  further: ConnectionOptions = {},
): Promise<Send> {
  const { host, port, authority, isSecure } = place;
  const loadCa = route === null ? loadUpstreamCa : loadRouteCa;
  const ca = config.ca === null ? {} : { ca: (await loadCa(config.ca)).pem };
  const tls = {
    ...ca,
    servername: isIP(host) === 0 ? host : '',
    checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
    ...further,
  };
  return createSender({ address, port, authority, tls: isSecure ? tls : null });
}

/** The parts of upstream.url. */
export type Place = {
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  readonly isSecure: boolean;
};

export function readPlace(text: string): Place {
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
