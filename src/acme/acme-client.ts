import { createPublicKey, type KeyObject } from 'node:crypto';
import { Agent } from 'node:https';
import { calculateJwkThumbprint, exportJWK, FlattenedSign, type FlattenedJWS, type JWK } from 'jose';
import type * as z from 'zod';
import { exchange, type HttpsAnswer, type HttpsRequest } from './https-exchange.ts';
import { AcmeError, parseRetryAfter, problemType, quoteCa } from './problem.ts';
import {
  accountSchema,
  authorizationSchema,
  directorySchema,
  orderSchema,
  parseResource,
  problemSchema,
  renewalInfoSchema,
  type Authorization,
  type Directory,
  type Order,
  type RenewalInfo,
} from './resources.ts';

export type AcmeClientOptions = {
  readonly directoryUrl: string;
  /** PEM of the CAs that verify the server; null: the public ones. */
  readonly ca: string | null;
  /** Aborts everything. */
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** An account at the CA: its key, and its URL once it is known. */
export type AccountCredentials = { readonly key: KeyObject; readonly url: string | null };

/** External account binding (RFC 8555 section 7.3.4). */
export type ExternalAccount = { readonly keyId: string; readonly hmacKey: string };

/** Something that may be asked for again. */
export type Polled<T> = { readonly value: T; readonly retryAfterMs: number | null };

/** Speaks ACME (RFC 8555) with one CA. Each method throws an AcmeError when the CA refuses, or cannot be asked. */
export type AcmeClient = {
  directory(): Promise<Directory>;
  /** Creates the account of this key, or finds it. Returns its URL. */
  createAccount(
    key: KeyObject,
    data: { readonly contact: readonly string[]; readonly externalAccount: ExternalAccount | null },
  ): Promise<string>;
  /** Replaces the contacts, unless null. Returns the account's status. */
  updateAccount(account: AccountCredentials, contact: readonly string[] | null): Promise<string>;
  /** @param replaces the certificate that the new one replaces (RFC 9773 section 5) */
  createOrder(
    account: AccountCredentials,
    hosts: readonly string[],
    replaces: string | null,
  ): Promise<{ readonly url: string; readonly order: Order }>;
  order(account: AccountCredentials, url: string): Promise<Polled<Order>>;
  authorization(account: AccountCredentials, url: string): Promise<Polled<Authorization>>;
  /** Tells the CA that it may check. */
  respond(account: AccountCredentials, challengeUrl: string): Promise<void>;
  finalize(account: AccountCredentials, url: string, request: Buffer): Promise<void>;
  /** Returns the chain as the CA sends it. */
  certificate(account: AccountCredentials, url: string): Promise<string>;
  /** Null: this CA has none. */
  renewalInfo(certificateId: string): Promise<Polled<RenewalInfo> | null>;
  close(): void;
};

/** How often a request is sent again after its nonce was refused (RFC 8555 section 6.5). */
const maxNonceTries = 10;
/** A signature of this CA's clock and ours would be judged by different times. */
const maxClockErrorMs = 3_600_000;
/** RFC 8555 section 6.5.1: base64url. */
const noncePattern = /^[A-Za-z0-9_-]{1,500}$/;

export function createAcmeClient({ directoryUrl, ca, signal, now }: AcmeClientOptions): AcmeClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 2, maxCachedSessions: 2 });
  let known: Directory | null = null;
  /** The last one that the CA has given, if it was not used yet. */
  let nonces: string[] = [];

  const ask = async (request: HttpsRequest): Promise<HttpsAnswer> => {
    let answer: HttpsAnswer;
    try {
      answer = await exchange(request, { agent, ca, signal });
    } catch (cause) {
      throw new AcmeError(`The CA cannot be asked (${quoteCa(request.url)}): ${describe(cause)}.`, { cause });
    }
    const { 'replay-nonce': next } = answer.headers;
    if (typeof next === 'string' && noncePattern.test(next)) nonces = [next];
    return answer;
  };
  const directory = async (): Promise<Directory> => {
    if (known !== null) return known;
    const answer = await ask({ method: 'GET', url: directoryUrl });
    checkClock(answer, now());
    if (answer.status !== 200) throw toProblem(answer, now());
    known = parseResource(answer.body, directorySchema, 'directory');
    return known;
  };
  const takeNonce = async (): Promise<string> => {
    const fresh = nonces.pop();
    if (fresh !== undefined) return fresh;
    const { newNonce } = await directory();
    const answer = await ask({ method: 'HEAD', url: newNonce });
    const given = nonces.pop();
    if (given === undefined)
      throw new AcmeError(`The CA gives no nonce (status ${answer.status}).`, {
        retryAfterMs: retryAfter(answer, now()),
      });
    return given;
  };
  /** `payload` null: POST-as-GET (section 6.3). */
  const post = async (
    account: AccountCredentials,
    url: string,
    payload: object | null,
  ): Promise<HttpsAnswer> => {
    const { kid, jwk } =
      account.url === null
        ? { kid: null, jwk: await publicJwk(account.key) }
        : { kid: account.url, jwk: null };
    for (let tries = 1; ; tries += 1) {
      const header = { alg: 'ES256', url, nonce: await takeNonce(), ...(kid === null ? { jwk } : { kid }) };
      const body = await signJws(payload, header, account.key);
      const answer = await ask({ method: 'POST', url, body: JSON.stringify(body) });
      if (answer.status < 300) return answer;
      const refusal = toProblem(answer, now());
      if (refusal.type !== 'badNonce' || tries >= maxNonceTries) throw refusal;
    }
  };
  const fetch = async <S extends z.ZodType>(
    account: AccountCredentials,
    url: string,
    schema: S,
    what: string,
  ): Promise<Polled<z.output<S>>> => {
    const answer = await post(account, url, null);
    return { value: parseResource(answer.body, schema, what), retryAfterMs: retryAfter(answer, now()) };
  };

  return {
    directory,
    createAccount: async (key, { contact, externalAccount }) => {
      const { newAccount: url, meta } = await directory();
      if (meta?.externalAccountRequired === true && externalAccount === null)
        throw new AcmeError(
          'The CA wants an external account: set tls.acme.externalAccount to the key id and HMAC key that it has given you.',
        );
      const answer = await post({ key, url: null }, url, {
        termsOfServiceAgreed: true,
        ...(contact.length > 0 ? { contact } : {}),
        ...(externalAccount === null
          ? {}
          : { externalAccountBinding: await bindAccount(externalAccount, url, key) }),
      });
      return readLocation(answer, 'account');
    },
    updateAccount: async (account, contact) => {
      const answer = await post(account, account.url ?? '', contact === null ? null : { contact });
      return parseResource(answer.body, accountSchema, 'account').status;
    },
    createOrder: async (account, hosts, replaces) => {
      const { newOrder, renewalInfo } = await directory();
      const answer = await post(account, newOrder, {
        identifiers: hosts.map((value) => ({ type: 'dns', value })),
        ...(replaces === null || renewalInfo === undefined ? {} : { replaces }),
      });
      const order = parseResource(answer.body, orderSchema, 'order');
      return { url: readLocation(answer, 'order'), order };
    },
    order: (account, url) => fetch(account, url, orderSchema, 'order'),
    authorization: (account, url) => fetch(account, url, authorizationSchema, 'authorization'),
    respond: async (account, url) => {
      await post(account, url, {});
    },
    finalize: async (account, url, request) => {
      await post(account, url, { csr: request.toString('base64url') });
    },
    certificate: async (account, url) => (await post(account, url, null)).body.toString('latin1'),
    renewalInfo: async (certificateId) => {
      const { renewalInfo: base } = await directory();
      if (base === undefined) return null;
      const answer = await ask({ method: 'GET', url: `${base.replace(/\/$/, '')}/${certificateId}` });
      if (answer.status !== 200) throw toProblem(answer, now());
      return {
        value: parseResource(answer.body, renewalInfoSchema, 'renewal information'),
        retryAfterMs: retryAfter(answer, now()),
      };
    },
    close: () => agent.destroy(),
  };
}

/** The digest of the account's key, for challenges (RFC 8555 section 8.1). */
export async function keyThumbprint(key: KeyObject): Promise<string> {
  return calculateJwkThumbprint(await publicJwk(key), 'sha256');
}

async function publicJwk(key: KeyObject): Promise<JWK> {
  return exportJWK(createPublicKey(key));
}

function signJws(
  payload: object | null,
  header: { readonly alg: string; readonly nonce?: string; readonly url: string },
  key: KeyObject | Uint8Array,
): Promise<FlattenedJWS> {
  const text = payload === null ? '' : JSON.stringify(payload);
  return new FlattenedSign(new TextEncoder().encode(text)).setProtectedHeader(header).sign(key);
}

/** RFC 8555 section 7.3.4: the account's key, signed with the key that the CA knows. */
async function bindAccount({ keyId, hmacKey }: ExternalAccount, url: string, key: KeyObject) {
  const secret = Buffer.from(hmacKey, 'base64url');
  return signJws(
    await publicJwk(key),
    { alg: 'HS256', url, kid: keyId } as { alg: string; url: string },
    secret,
  );
}

/** @throws AcmeError when this machine's clock and the CA's differ by hours */
function checkClock({ headers }: HttpsAnswer, nowMs: number): void {
  const errorMs = Date.parse(headers.date ?? '') - nowMs;
  if (!(Math.abs(errorMs) > maxClockErrorMs)) return;
  const hours = Math.round(Math.abs(errorMs) / 3_600_000);
  throw new AcmeError(
    `This machine's clock is ${hours} hours ${errorMs > 0 ? 'behind' : 'ahead of'} the CA's: set it right (NTP), and the certificate is ordered.`,
  );
}

function retryAfter({ headers }: HttpsAnswer, nowMs: number): number | null {
  return parseRetryAfter(headers['retry-after'], nowMs);
}

function readLocation({ headers }: HttpsAnswer, what: string): string {
  const { location } = headers;
  if (location === undefined || location.length > 2000 || !URL.canParse(location))
    throw new AcmeError(`The CA has made the ${what}, and does not say where.`);
  return location;
}

function toProblem(answer: HttpsAnswer, nowMs: number): AcmeError {
  const { status, body } = answer;
  const retryAfterMs = retryAfter(answer, nowMs);
  try {
    const { type, detail = '', subproblems = [] } = parseResource(body, problemSchema, 'problem');
    const details = [detail, ...subproblems.map((each) => each.detail ?? '')].filter((each) => each !== '');
    const name = problemType(type);
    return new AcmeError(
      `The CA refuses (${status}${name === '' ? '' : ` ${quoteCa(name)}`}): ${quoteCa(details.join(' '))}`,
      { type: name, status, retryAfterMs },
    );
  } catch {
    return new AcmeError(`The CA answers ${status}, and does not say why.`, { status, retryAfterMs });
  }
}

const untrusted: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

function describe(error: unknown): string {
  const { cause, message, code } = error as NodeJS.ErrnoException;
  if (code !== undefined && untrusted.has(code))
    return "its server's certificate is not signed by a trusted CA: set tls.acme.ca to the CA that signed it";
  const { message: deeper = '' } = (cause ?? {}) as Partial<Error>;
  const text = message === '' || message === 'The operation was aborted' ? deeper || (code ?? '') : message;
  return quoteCa(text === '' ? 'no reason given' : text);
}
