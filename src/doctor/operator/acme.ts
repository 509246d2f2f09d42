import { once } from 'node:events';
import { lookup } from 'node:dns/promises';
import { get, type IncomingMessage } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { connect } from 'node:tls';
import { askAccount } from '../../acme/account-status.ts';
import { openAcmeFiles } from '../../acme/acme-files.ts';
import { findAcmeFolder } from '../../config/schema/acme-folder.ts';
import type { Config } from '../../config/schema/schema.ts';
import type { Check } from '../check.ts';
import { describeFailure } from '../failure.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';

const limitMs = 10_000;

/** Addresses that no CA on the internet reaches (RFC 6890). */
const privateNetworks = new BlockList();
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const)
  privateNetworks.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  privateNetworks.addSubnet(network, bits, 'ipv6');

/** The checks of `tls.acme`: none where the certificate is the operator's own. */
export function createAcmeChecks(config: Pick<Config, 'tls' | 'state'>, now: () => Date): Check[] {
  const folder = findAcmeFolder(config);
  if (folder === null) return [];
  const { hosts, challenge, directory, ca, externalAccount } = config.tls.acme;
  return [
    {
      ids: ['acme.orders'],
      limitMs,
      fix: 'tidegate cert show',
      run: async () => [await judgeOrders(folder, now())],
    },
    {
      ids: ['acme.names'],
      limitMs,
      fix: 'is there a name server?',
      run: async () => [judgeNames(await Promise.all(hosts.map(resolve)))],
    },
    {
      ids: ['acme.reach'],
      limitMs,
      fix: challenge === 'http-01' ? 'lead port 80 to listen.httpPort' : 'lead port 443 to listen.port',
      run: async (signal) => [
        judgeReach(
          challenge,
          await Promise.all(hosts.map((host) => tryChallenge(host, challenge, folder, signal))),
        ),
      ],
    },
    {
      ids: ['acme.account'],
      limitMs,
      fix: 'is https to the directory allowed from here, and is tls.acme.ca right?',
      run: async (signal) => {
        const { keyId } = externalAccount;
        return [judgeAccount(await askAccount({ folder, directory, ca, keyId, signal }))];
      },
    },
  ];
}

/** Whether the last order succeeded, and when the next one is. */
async function judgeOrders(folder: string, now: Date): Promise<Finding> {
  const check = 'acme.orders';
  const progress = await openAcmeFiles(folder, '').progress();
  if (progress === null)
    return skipped(check, `Nothing was ordered yet, or ${folder} cannot be read.`, 'run it as root');
  const { lastFailure, retryAtMs, renewal } = progress;
  const at = (ms: number) => new Date(ms).toISOString();
  if (lastFailure !== null) {
    const next =
      retryAtMs !== null && retryAtMs > now.getTime() ? ` The next try is at ${at(retryAtMs)}.` : '';
    return broken(
      check,
      `The last order failed at ${at(lastFailure.atMs)}: ${quoteForeign(lastFailure.text, 500)}${next}`,
      'put that right, then: tidegate reload',
    );
  }
  if (renewal === null) return ok(check, 'The last order was successful.');
  return ok(
    check,
    `The certificate is renewed at ${at(renewal.atMs)}${renewal.isSetByCa ? ', as the CA suggests' : ''}.`,
  );
}

type Resolved = {
  readonly host: string;
  readonly addresses: readonly string[];
  readonly failure: string | null;
};

async function resolve(host: string): Promise<Resolved> {
  try {
    const found = await lookup(host, { all: true });
    return { host, addresses: found.map(({ address }) => address), failure: null };
  } catch (error) {
    return { host, addresses: [], failure: describeFailure(error) };
  }
}

/** Judges whether a CA on the internet can find this machine by its names. */
export function judgeNames(all: readonly Resolved[]): Finding {
  const check = 'acme.names';
  const lost = all.filter(({ failure }) => failure !== null);
  if (lost.length > 0) {
    const texts = lost.map(({ host, failure }) => `${host} cannot be looked up: ${failure}.`);
    return broken(check, texts.join(' '), 'add an address record for it in the DNS');
  }
  const inside = all.filter(({ addresses }) => addresses.every(isPrivate));
  if (inside.length > 0)
    return warning(
      check,
      `${inside.map(({ host, addresses }) => `${host} is ${addresses.join(', ')}`).join('; ')} from here: no CA on the internet reaches that.`,
      'if the DNS has another address for others all is well; else use a CA of your own, or name your ACME server in tls.acme.directory',
    );
  return ok(check, `${all.map(({ host, addresses }) => `${host} is ${addresses.join(', ')}`).join('; ')}.`);
}

function isPrivate(address: string): boolean {
  return privateNetworks.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

type Reach = { readonly host: string; readonly fault: string | null };

/** Goes the way of the CA's check, as far as that can be done from here. */
async function tryChallenge(
  host: string,
  challenge: Config['tls']['acme']['challenge'],
  folder: string,
  signal: AbortSignal,
): Promise<Reach> {
  try {
    const fault = challenge === 'http-01' ? await askPlain(host, signal) : await askTls(host, folder, signal);
    return { host, fault };
  } catch (error) {
    return { host, fault: describeFailure(error) };
  }
}

/** The listener for plain HTTP knows no such token, and says so in its own words. */
async function askPlain(host: string, signal: AbortSignal): Promise<string | null> {
  const asked = get({
    host,
    port: 80,
    path: '/.well-known/acme-challenge/tidegate-doctor',
    signal,
    agent: false,
  });
  const [answer] = (await once(asked, 'response', { signal })) as [IncomingMessage];
  const [piece] = (await once(answer, 'data', { signal })) as [Buffer];
  answer.destroy();
  const isOurs = answer.statusCode === 404 && piece.toString() === 'There is no such challenge.\n';
  return isOurs ? null : `another program answers there (status ${answer.statusCode})`;
}

async function askTls(host: string, folder: string, signal: AbortSignal): Promise<string | null> {
  // Whose certificate it is is what is asked, so that none is refused.
  const socket = connect({ host, port: 443, servername: host, rejectUnauthorized: false });
  signal.addEventListener('abort', () => socket.destroy(), { once: true });
  await once(socket, 'secureConnect', { signal });
  const { fingerprint256, subject } = socket.getPeerCertificate();
  socket.destroy();
  const own = (await openAcmeFiles(folder, '').certificate())?.leaf.fingerprint256;
  if (own === fingerprint256) return null;
  const isInterim = String(subject.CN).startsWith('Tidegate, until');
  return isInterim && own === undefined ? null : 'another certificate is presented there';
}

function judgeReach(challenge: string, all: readonly Reach[]): Finding {
  const check = 'acme.reach';
  const port = challenge === 'http-01' ? 80 : 443;
  const to = challenge === 'http-01' ? 'listen.httpPort' : 'listen.port, with TLS passed through';
  const wrong = all.filter(({ fault }) => fault !== null);
  if (wrong.length === 0) return ok(check, `From here, port ${port} of each name leads to this Tidegate.`);
  // A router may refuse to lead from inside to its outer address.
  return warning(
    check,
    `${wrong.map(({ host, fault }) => `Port ${port} of ${host}: ${quoteForeign(fault ?? '')}.`).join(' ')} The CA's check (${challenge}) must come in there.`,
    `lead port ${port} of the name to ${to}; if it works from outside, all is well`,
  );
}

/** Judges the account at the CA. */
function judgeAccount(status: Awaited<ReturnType<typeof askAccount>>): Finding {
  const check = 'acme.account';
  switch (status.kind) {
    case 'none':
      return skipped(check, 'There is no account yet, or this user cannot read its key.', 'run it as root');
    case 'failed':
      return broken(
        check,
        quoteForeign(status.text),
        'is https to the directory allowed from here, and is tls.acme.ca right?',
      );
    case 'known':
      return status.status === 'valid'
        ? ok(check, 'The account at the CA is valid.')
        : warning(
            check,
            `The account at the CA is ${quoteForeign(status.status)}.`,
            'serve makes a new one with the next order',
          );
  }
}
