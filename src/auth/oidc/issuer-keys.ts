import type { Logger } from 'pino';
import { readIssuerDocument } from './issuer-document.ts';
import { readObject } from './json-object.ts';
import { parseKeySet, type IssuerKey, type KeySet } from './key-set.ts';

/** Where the keys of an issuer are. */
export type KeySource = {
  /** Exactly as in the `iss` of its tokens. */
  readonly issuer: string;
  /** Null: discovery finds them (OpenID Connect Discovery 1.0 section 4). */
  readonly jwks: string | null;
  /** PEM of the CAs that verify the server, instead of the public ones; null: the public ones. */
  readonly ca: string | null;
};

/** The public keys of an issuer. Fetches them when needed, and keeps them while the issuer is unreachable. */
export type IssuerKeys = {
  /** Returns the key with that `kid`; null: the issuer has none. @throws KeysUnavailable when that is unknown */
  find(kid: string): Promise<IssuerKey | null>;
  /** Increases whenever the keys change. */
  generation(): number;
  /** Fetches the keys if there are none yet. Never rejects. */
  prefetch(): Promise<void>;
  close(): void;
};

/** The keys of an issuer are unknown, so a token can be neither accepted nor refused. */
export class KeysUnavailable extends Error {}

/** What one fetch of keys needs. */
type KeyFetch = KeySource & {
  /** Its longest time, discovery included. */
  readonly timeoutMs: number;
  /** The largest accepted document. */
  readonly maxBytes: number;
};

export type IssuerKeysOptions = KeyFetch & {
  /** For the log. */
  readonly name: string;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** A monotonic clock in milliseconds. */
  readonly now: () => number;
};

/** Shortest time between two fetches, whatever clients send. */
export const refetchMs = 10_000;
/** Older keys are refreshed in the background. */
const refreshMs = 5 * 60_000;
/** Older keys are used only if a refresh fails. */
const freshMs = 10 * 60_000;
/** Of a `jwks_uri`, which stands in the log when it fails. */
const maxUrlLength = 2048;
/** Older keys are not used. */
const maxStaleMs = 24 * 60 * 60_000;

export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const { issuer, name, logger, now } = options;
  const closing = new AbortController();
  let present: KeySet | null = null;
  let generation = 0;
  let fetchedAtMs = -Infinity;
  let endedAtMs = -Infinity;
  let failure: string | null = null;
  let flight: Promise<void> | null = null;

  const accept = (next: KeySet) => {
    if (next.fingerprint !== present?.fingerprint) generation += 1;
    if (failure !== null)
      logger.info({ issuer: name }, `The keys of the issuer ${name} can be fetched again.`);
    if (next.keys.size === 0 && next.fingerprint !== present?.fingerprint)
      logger.warn(
        { issuer: name },
        `The issuer ${name} publishes no key that can verify an ID token: its tokens are refused.`,
      );
    present = next;
    fetchedAtMs = now();
    failure = null;
  };
  const fail = (error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason !== failure && !closing.signal.aborted)
      logger.warn(
        { issuer: name, reason },
        `The keys of the issuer ${name} cannot be fetched: ${reason}. ${
          present === null
            ? 'Its tokens get 503 until they can.'
            : 'The ones fetched last stay in effect for 24 hours.'
        }`,
      );
    failure = reason;
  };
  const fetchKeys = async () => {
    try {
      accept(await loadKeys(options, closing.signal));
    } catch (error) {
      fail(error);
    } finally {
      endedAtMs = now();
      flight = null;
    }
  };
  /** Starts or joins a fetch; null: the last one ended a moment ago. */
  const refresh = (): Promise<void> | null => {
    if (flight === null && now() - endedAtMs >= refetchMs) flight = fetchKeys();
    return flight;
  };

  return {
    find: async (kid) => {
      const ageMs = now() - fetchedAtMs;
      const known = ageMs < maxStaleMs ? present?.keys.get(kid) : undefined;
      if (known !== undefined && ageMs < refreshMs) return known;
      const fetching = refresh();
      if (known !== undefined && (ageMs < freshMs || failure !== null)) return known;
      await fetching;
      if (fetching !== null && failure === null) return present?.keys.get(kid) ?? null;
      if (known !== undefined) return known;
      // A fetch that is held back could still find the key.
      throw new KeysUnavailable(`whether ${issuer} has this key is not known`);
    },
    generation: () => generation,
    prefetch: async () => {
      if (present === null) await refresh();
    },
    close: () => closing.abort(),
  };
}

/** Fetches the keys of an issuer. @throws Error whose message says where and why it failed */
export async function loadKeys(
  { issuer, jwks, ca, maxBytes, timeoutMs }: KeyFetch,
  closing: AbortSignal,
): Promise<KeySet> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([timeout, closing]);
  const read = async <T>(url: URL, parse: (document: unknown) => T | Promise<T>): Promise<T> => {
    try {
      return await parse(await readIssuerDocument(url, { ca, maxBytes, signal }));
    } catch (error) {
      const reason = timeout.aborted ? `it took longer than ${timeoutMs} ms` : (error as Error).message;
      throw new Error(`${url.href}: ${reason}`);
    }
  };
  const place =
    jwks === null
      ? await read(discoveryUrl(issuer), (document) => readJwksUri(document, issuer))
      : new URL(jwks);
  return read(place, parseKeySet);
}

/** OpenID Connect Discovery 1.0 section 4.1 */
function discoveryUrl(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

function readJwksUri(document: unknown, issuer: string): URL {
  const { issuer: named, jwks_uri: place } = readObject(document) ?? {};
  // Required by section 4.3.
  if (named !== issuer) throw new Error(`it is the document of another issuer than ${issuer}`);
  if (typeof place !== 'string' || place.length > maxUrlLength || !URL.canParse(place))
    throw new Error('it has no jwks_uri');
  const url = new URL(place);
  if (url.origin !== new URL(issuer).origin || url.username !== '' || url.password !== '')
    throw new Error('its jwks_uri leads elsewhere: name the right place as `jwks` of this issuer');
  return url;
}
