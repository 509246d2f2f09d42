import { generateKeyPair, type KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readCertificateList } from '../tls/certificate-list.ts';
import { createCertificateRequest } from '../tls/issue/signed-structure.ts';
import {
  keyThumbprint,
  type AccountCredentials,
  type AcmeClient,
  type ExternalAccount,
  type Polled,
} from './acme-client.ts';
import { readStoredKey, type AcmeFiles, type StoredOrder } from './acme-files.ts';
import type { ChallengeType, PendingChallenge } from './challenges.ts';
import { AcmeError, OrderFailed, quoteCa } from './problem.ts';
import type { Authorization, Order, Problem } from './resources.ts';

export type KeyType = 'EC256' | 'EC384' | 'RSA2048' | 'RSA4096';

/** What to order, and where. */
export type CertificateWish = {
  readonly directory: string;
  readonly hosts: readonly string[];
  readonly email: string | null;
  readonly challenge: ChallengeType;
  readonly keyType: KeyType;
  readonly externalAccount: ExternalAccount | null;
};

export type ObtainOptions = {
  readonly wish: CertificateWish;
  readonly client: AcmeClient;
  readonly files: AcmeFiles;
  /** The certificate that the new one replaces, as RFC 9773 names it; null: none. */
  readonly replaces: string | null;
  /** Makes all listeners answer these; resolves when all do. */
  readonly publish: (challenges: readonly PendingChallenge[]) => Promise<void>;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** How long to wait before asking again, where the CA does not say; in milliseconds. */
const pollMs = 1000;
const longestPollMs = 30_000;
/** An order goes through five states at most. */
const maxSteps = 10;
/** As far as this machine's clock may be behind the CA's. */
const maxClockErrorMs = 3_600_000;

/**
 * Obtains a certificate and writes it. Each step is in a file before the next begins, so that a killed process goes on
 * where it was: with the same account, the same order and the same key.
 * @throws OrderFailed when the CA has failed the order; AcmeError for its other refusals; Error of the file system
 */
export async function obtainCertificate(options: ObtainOptions): Promise<void> {
  const { files, client, wish } = options;
  await client.directory();
  const account = await openAccount(options);
  const stored = await files.order();
  const begun =
    stored !== null && fits(stored, wish, account) ? await resume(stored, account, options) : null;
  const { order, key, keyPem, url } = begun ?? (await begin(account, options));
  try {
    await complete({ order, key, keyPem, url, account }, options);
  } catch (error) {
    // Without this, what the CA will never take would be sent to it again.
    if (isFinal(error)) await files.removeOrder();
    throw error;
  }
  await files.removeOrder();
}

/** Whether an order cannot be gone on with. */
function isFinal(error: unknown): boolean {
  if (error instanceof OrderFailed) return true;
  return error instanceof AcmeError && isRefusal(error);
}

/** Whether the CA refuses what was asked, and not just now. */
function isRefusal({ status, type }: AcmeError): boolean {
  return status >= 400 && status < 500 && type !== 'rateLimited' && type !== 'badNonce';
}

/** @throws AcmeError, or Error of the file system */
async function openAccount(options: ObtainOptions): Promise<AccountCredentials & { readonly url: string }> {
  const { files, client, wish } = options;
  const contact = wish.email === null ? [] : [`mailto:${wish.email}`];
  const stored = await files.account();
  const storedKey = stored === null ? null : readStoredKey(stored.key);
  if (stored !== null && storedKey !== null && stored.url !== null) {
    const account = { key: storedKey, url: stored.url };
    const isChanged = contact.join() !== stored.contact.join();
    if (await isUsable(client, account, isChanged ? contact : null)) {
      if (isChanged) await files.saveAccount({ ...stored, contact });
      return account;
    }
  }
  // The key of an account that was refused is worth nothing; one that was never sent may be known already.
  const key = stored?.url === null && storedKey !== null ? storedKey : await createKey('EC256');
  const account = { directory: wish.directory, key: exportKey(key), contact };
  await files.saveAccount({ ...account, url: null });
  const url = await client.createAccount(key, { contact, externalAccount: wish.externalAccount });
  await files.saveAccount({ ...account, url });
  return { key, url };
}

/** Whether the CA still takes orders of the account: it may have been deactivated, or the CA has forgotten it. */
async function isUsable(
  client: AcmeClient,
  account: AccountCredentials,
  contact: readonly string[] | null,
): Promise<boolean> {
  try {
    return (await client.updateAccount(account, contact)) === 'valid';
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error;
    if (['accountDoesNotExist', 'unauthorized'].includes(error.type)) return false;
    throw error;
  }
}

function fits(
  { directory, account, hosts }: StoredOrder,
  wish: CertificateWish,
  { url }: AccountCredentials,
) {
  return directory === wish.directory && account === url && hosts.join() === wish.hosts.join();
}

/** An order at the CA. */
type OpenOrder = {
  readonly order: Order;
  readonly url: string;
  readonly key: KeyObject;
  readonly keyPem: string;
};

/** Goes on with an order of before; null: it is of no use any more. */
async function resume(
  stored: StoredOrder,
  account: AccountCredentials,
  { client, files }: ObtainOptions,
): Promise<OpenOrder | null> {
  const key = readStoredKey(stored.key);
  const { url } = stored;
  if (key === null || url === null) return null;
  // Its certificate is written already: the process ended before the order was removed.
  if ((await files.certificate())?.leaf.checkPrivateKey(key) === true) return null;
  try {
    const { value: order } = await client.order(account, url);
    return order.status === 'invalid' ? null : { order, url, key, keyPem: stored.key };
  } catch (error) {
    // It has expired, or the CA has forgotten it.
    if (error instanceof AcmeError && isRefusal(error)) return null;
    throw error;
  }
}

async function begin(
  account: AccountCredentials & { url: string },
  options: ObtainOptions,
): Promise<OpenOrder> {
  const { client, files, wish, replaces } = options;
  const key = await createKey(wish.keyType);
  const keyPem = exportKey(key);
  const stored = { directory: wish.directory, account: account.url, hosts: [...wish.hosts], key: keyPem };
  // Before the CA is asked: if nothing can be written, no order is spent.
  await files.saveOrder({ ...stored, url: null });
  const { url, order } = await client.createOrder(account, wish.hosts, replaces).catch((error: unknown) => {
    // RFC 9773 section 5: another order has replaced it, or it is not of this CA.
    if (replaces === null || !(error instanceof AcmeError && isRefusal(error))) throw error;
    return client.createOrder(account, wish.hosts, null);
  });
  await files.saveOrder({ ...stored, url });
  return { order, url, key, keyPem };
}

type OrderInProgress = OpenOrder & { readonly account: AccountCredentials };

/** @throws OrderFailed */
async function complete(open: OrderInProgress, options: ObtainOptions): Promise<void> {
  const { account, url, key, keyPem } = open;
  const { client, files, wish } = options;
  let { order } = open;
  for (let steps = 0; steps < maxSteps; steps += 1) {
    switch (order.status) {
      case 'pending':
        await authorize(order, account, options);
        order = await pollWhile(['pending'], () => client.order(account, url), options);
        break;
      case 'ready':
        await client.finalize(account, order.finalize, createCertificateRequest(key, wish.hosts));
        order = await pollWhile(['ready'], () => client.order(account, url), options);
        break;
      case 'processing':
        order = await pollWhile(['processing'], () => client.order(account, url), options);
        break;
      case 'valid': {
        if (order.certificate === undefined)
          throw new OrderFailed('The CA calls the order valid, and names no certificate.');
        const chain = await client.certificate(account, order.certificate);
        await files.saveCertificate(keyPem, checkChain(chain, key, wish.hosts, options.now()));
        return;
      }
      case 'invalid':
        throw new OrderFailed(`The CA has failed the order${describeProblem(order.error)}.`);
      default:
        throw new OrderFailed(`The CA calls the order ${quoteCa(order.status)}.`);
    }
  }
  throw new OrderFailed('The CA takes the order from one state to another without an end.');
}

/** Asks again while a resource has one of these states. */
async function pollWhile<T extends { readonly status: string }>(
  states: readonly string[],
  ask: () => Promise<Polled<T>>,
  { signal }: ObtainOptions,
): Promise<T> {
  for (;;) {
    const { value, retryAfterMs } = await ask();
    if (!states.includes(value.status)) return value;
    await delay(Math.min(Math.max(retryAfterMs ?? pollMs, pollMs), longestPollMs), undefined, { signal });
  }
}

/** Proves that the hosts are ours. @throws OrderFailed when the CA does not believe it */
async function authorize(order: Order, account: AccountCredentials, options: ObtainOptions): Promise<void> {
  const { client, wish, publish } = options;
  const thumbprint = await keyThumbprint(account.key);
  const waiting: { url: string; challengeUrl: string; challenge: PendingChallenge }[] = [];
  for (const url of order.authorizations) {
    const { value } = await client.authorization(account, url);
    if (value.status === 'pending') waiting.push({ url, ...chooseChallenge(value, thumbprint, wish) });
    else if (value.status !== 'valid') throw failed(value, wish.challenge);
  }
  if (waiting.length === 0) return;
  try {
    await publish(waiting.map(({ challenge }) => challenge));
    for (const { challengeUrl } of waiting) await client.respond(account, challengeUrl);
    for (const { url } of waiting) {
      const checked = await pollWhile(['pending'], () => client.authorization(account, url), options);
      if (checked.status !== 'valid') throw failed(checked, wish.challenge);
    }
  } finally {
    await publish([]);
  }
}

/** RFC 8555 section 8.1: base64url. */
const tokenPattern = /^[A-Za-z0-9_-]{16,512}$/;

function chooseChallenge(
  { identifier, challenges }: Authorization,
  thumbprint: string,
  { challenge: type, hosts }: CertificateWish,
) {
  const host = identifier.value.toLowerCase();
  const offered = challenges.find((each) => each.type === type);
  if (!hosts.includes(host) || identifier.type !== 'dns')
    throw new OrderFailed(`The CA wants to check ${quoteCa(identifier.value)}, which was not ordered.`);
  if (offered?.token === undefined || offered.url === undefined)
    throw new OrderFailed(
      `The CA does not offer ${type} for ${host}: set tls.acme.challenge to one of ${quoteCa(challenges.map((each) => each.type).join(', '))}.`,
    );
  if (!tokenPattern.test(offered.token))
    throw new OrderFailed(`The CA's token for ${host} is not as RFC 8555 has it.`);
  return { challengeUrl: offered.url, challenge: { type, host, token: offered.token, thumbprint } };
}

function failed({ identifier, challenges, status }: Authorization, type: ChallengeType): OrderFailed {
  const error = challenges.find((each) => each.type === type)?.error;
  const reach =
    type === 'http-01'
      ? 'port 80 of that name must lead to listen.httpPort'
      : 'port 443 of that name must lead to listen.port, with TLS passed through';
  return new OrderFailed(
    `The CA could not check ${quoteCa(identifier.value)} by ${type} (${quoteCa(status)})${describeProblem(error)}; ${reach}.`,
  );
}

function describeProblem(problem: Problem | undefined): string {
  const texts = [problem?.detail, ...(problem?.subproblems ?? []).map(({ detail }) => detail)];
  const text = texts.filter((each) => each !== undefined && each !== '').join(' ');
  return text === '' ? '' : `: ${quoteCa(text)}`;
}

/**
 * Returns the chain as PEM that holds certificates and nothing else.
 * @throws OrderFailed when no client could use it
 */
function checkChain(text: string, key: KeyObject, hosts: readonly string[], nowMs: number): string {
  const refuse = (reason: string) => new OrderFailed(`The CA's certificate cannot be used: ${reason}.`);
  const parse = () => {
    try {
      return readCertificateList(text, 'it');
    } catch (error) {
      throw refuse(quoteCa((error as Error).message));
    }
  };
  const { certificates, chainPem } = parse();
  const [leaf] = certificates;
  if (certificates.length > 10) throw refuse('its chain has more than 10 certificates');
  if (!leaf.checkPrivateKey(key)) throw refuse('it is for another key');
  const missing = hosts.filter((host) => leaf.checkHost(host) === undefined);
  if (missing.length > 0) throw refuse(`it is not for ${missing.join(', ')}`);
  if (!(Date.parse(leaf.validTo) > nowMs)) throw refuse(`it ended on ${leaf.validTo}`);
  if (!(Date.parse(leaf.validFrom) <= nowMs + maxClockErrorMs))
    throw refuse(`it is not valid before ${leaf.validFrom}`);
  return chainPem;
}

/** Creates a private key. */
async function createKey(type: KeyType): Promise<KeyObject> {
  const { privateKey } = type.startsWith('EC')
    ? await promisify(generateKeyPair)('ec', { namedCurve: type === 'EC256' ? 'P-256' : 'P-384' })
    : await promisify(generateKeyPair)('rsa', { modulusLength: Number(type.slice('RSA'.length)) });
  return privateKey;
}

function exportKey(key: KeyObject): string {
  return String(key.export({ type: 'pkcs8', format: 'pem' }));
}
