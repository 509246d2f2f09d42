import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { takeName } from '../system/files/name-lock.ts';
import { OperatorError } from '../system/operator-error.ts';
import { loadAuthorities, type Authorities } from '../tls/authorities.ts';
import { createAcmeClient, keyThumbprint, type AcmeClient } from './acme-client.ts';
import { openAcmeFiles, readStoredKey, type Progress, type StoredCertificate } from './acme-files.ts';
import { certificateId } from './certificate-id.ts';
import type { PendingChallenge } from './challenges.ts';
import { obtainCertificate, type CertificateWish } from './obtain-certificate.ts';
import { AcmeError, OrderFailed } from './problem.ts';
import {
  askAgainIn,
  chooseRenewal,
  chooseWithin,
  lastPart,
  leastLife,
  longestAskPauseMs,
  nextOrderAllowed,
  putRight,
  recentFailures,
  waitAfter,
} from './renewal-plan.ts';

/** What is to be kept valid, and where it is kept. */
export type AcmeSettings = CertificateWish & {
  readonly folder: string;
  /** The file of the CAs that verify the directory; null: the public ones. */
  readonly ca: string | null;
};

/** A lock that instances share: how it is given back, or why it was not given. */
export type OrderLock = (signal: AbortSignal) => Promise<{ release(): void } | 'busy' | 'unavailable'>;

export type KeeperOptions = {
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Makes all listeners answer these; resolves when all do. */
  readonly publish: (challenges: readonly PendingChallenge[]) => Promise<void>;
  /** Called when an order is over. */
  readonly onOrder: (result: 'done' | 'failed') => void;
  /** Lets one instance of several order at a time; null: there is one. */
  readonly lock: OrderLock | null;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly random: () => number;
};

/** How the certificate of the CA fares. */
export type KeeperStatus = {
  /** Whether there is a certificate of the CA for all hosts. */
  readonly hasCertificate: boolean;
  /** Why the last try failed; null: it did not. */
  readonly failure: { readonly text: string; readonly tries: number } | null;
  /** When the next try is due, in milliseconds since the epoch; null: not known yet. */
  readonly nextAtMs: number | null;
};

/** Keeps what one set of settings wants. */
export type Keeper = {
  /** Orders if it is time to. Returns how long to wait until the next look, in milliseconds. */
  look(): Promise<number>;
  /** Forgets at the next look what was put off, except what the CA has put off. */
  beginAnew(): void;
  status(): KeeperStatus;
  end(): void;
};

/** How long a whole try may take, in milliseconds. */
const tryLimitMs = 10 * 60_000;
/** How soon to look again while another process orders, in milliseconds. */
const busyPauseMs = 2000;
/** Whoever seems to order for longer does not: a lock that anybody can take must not keep a certificate from renewal. */
const busyLimitMs = tryLimitMs + 5 * 60_000;
const hourMs = 3_600_000;

/** What is known at one moment. */
type Situation = {
  readonly known: Progress;
  readonly certificate: StoredCertificate | null;
  /** When to order, whatever failed before; in milliseconds since the epoch. */
  readonly dueAtMs: number;
};

export function createKeeper(settings: AcmeSettings, options: KeeperOptions): Keeper {
  const { logger, now, random } = options;
  const { directory, hosts, folder } = settings;
  const ending = new AbortController();
  const signal = AbortSignal.any([ending.signal, options.signal]);
  const files = openAcmeFiles(
    folder,
    nameAccount(settings.directory, settings.externalAccount?.keyId ?? null),
  );
  /** What could not be written; null: the file has it. */
  let unsaved: Progress | null = null;
  /** Whoever has started this program may have put right what was wrong. */
  let beginsAnew = true;
  /** Since when another process orders, in milliseconds since the epoch; null: none does. */
  let busySinceMs: number | null = null;
  let status: KeeperStatus = { hasCertificate: false, failure: null, nextAtMs: null };

  const isCovering = (certificate: StoredCertificate | null): certificate is StoredCertificate =>
    certificate !== null && hosts.every((host) => certificate.leaf.checkHost(host) !== undefined);
  const openClient = async (within: AbortSignal): Promise<AcmeClient> => {
    const ca = settings.ca === null ? null : (await loadAcmeCa(settings.ca)).pem;
    return createAcmeClient({ directoryUrl: directory, ca, signal: within, now });
  };

  /** Reads what is known of earlier tries, of this process or of another one. */
  const readProgress = async (): Promise<Progress> => {
    const stored = unsaved ?? (await files.progress());
    if (stored?.directory === directory) {
      const right = putRight(stored, now());
      if (right !== stored) await save(right);
      return right;
    }
    return {
      directory,
      failedAtMs: [],
      failures: 0,
      retryAtMs: null,
      isRetrySetByCa: false,
      lastFailure: null,
      issued: stored?.issued ?? null,
      renewal: null,
    };
  };
  const save = async (next: Progress): Promise<void> => {
    const wasUnsaved = unsaved !== null;
    try {
      await files.saveProgress(next);
      unsaved = null;
    } catch (error) {
      if (!wasUnsaved) logger.warn(describeFileError(error, folder));
      unsaved = next;
    }
  };

  /** A time further away was chosen when the clock was ahead. */
  const isToAsk = (atMs: number | null) =>
    atMs !== null && (atMs <= now() || atMs > now() + longestAskPauseMs);
  /** Plans the renewal of a certificate; asks the CA when it is time to (RFC 9773). */
  const plan = async (known: Progress, { leaf }: StoredCertificate): Promise<Progress> => {
    const fingerprint = leaf.fingerprint256;
    const planned = known.renewal?.fingerprint === fingerprint ? known.renewal : null;
    if (planned !== null && !isToAsk(planned.askAgainMs)) return known;
    const own = planned ?? {
      fingerprint,
      atMs: chooseRenewal(leaf, random),
      isSetByCa: false,
      askAgainMs: null,
    };
    const id = certificateId(leaf);
    if (id === null) return { ...known, renewal: own };
    let client: AcmeClient | null = null;
    try {
      client = await openClient(AbortSignal.any([signal, AbortSignal.timeout(tryLimitMs)]));
      const info = await client.renewalInfo(id);
      const askAgainMs = now() + askAgainIn(info?.retryAfterMs ?? null);
      if (info === null) return { ...known, renewal: { ...own, askAgainMs } };
      const { suggestedWindow: window } = info.value;
      const isWithin = own.atMs >= Date.parse(window.start) && own.atMs <= Date.parse(window.end);
      const atMs = own.isSetByCa && isWithin ? own.atMs : chooseWithin(window, leaf, random);
      return { ...known, renewal: { fingerprint, atMs, isSetByCa: true, askAgainMs } };
    } catch (error) {
      if (!(error instanceof AcmeError || error instanceof OperatorError)) throw error;
      const retryAfterMs = error instanceof AcmeError ? error.retryAfterMs : null;
      return { ...known, renewal: { ...own, askAgainMs: now() + askAgainIn(retryAfterMs ?? hourMs) } };
    } finally {
      client?.close();
    }
  };

  const assess = async (): Promise<Situation> => {
    const before = await readProgress();
    const certificate = await files.certificate();
    const { issued } = before;
    const isOfOther =
      issued?.fingerprint === certificate?.leaf.fingerprint256 && issued?.directory !== directory;
    // One of another directory, such as one for trials, is replaced at once.
    if (!isCovering(certificate) || isOfOther) return { known: before, certificate, dueAtMs: 0 };
    const known = await plan(before, certificate);
    if (known !== before) await save(known);
    // Whatever the CA says, a certificate is used for a while.
    const earliestMs = issued === null ? 0 : issued.atMs + leastLife(certificate.leaf);
    const isIssued = issued?.fingerprint === certificate.leaf.fingerprint256;
    return { known, certificate, dueAtMs: Math.max(known.renewal?.atMs ?? 0, isIssued ? earliestMs : 0) };
  };
  /** Updates the status. Returns when to order next. */
  const note = ({ known, certificate, dueAtMs }: Situation): number => {
    const { lastFailure, failures } = known;
    const nextAtMs = Math.max(dueAtMs, findAllowed(known));
    status = {
      hasCertificate: isCovering(certificate),
      failure: lastFailure === null ? null : { text: lastFailure.text, tries: failures },
      nextAtMs,
    };
    return nextAtMs;
  };
  /** When an order is allowed after those that failed, in milliseconds since the epoch. */
  const findAllowed = (known: Progress) =>
    Math.max(known.retryAtMs ?? 0, nextOrderAllowed(known.failedAtMs, now()));

  const order = async ({ certificate, known }: Situation): Promise<void> => {
    logger.info({ hosts, directory }, 'a certificate is being ordered');
    const within = AbortSignal.any([signal, AbortSignal.timeout(tryLimitMs)]);
    const client = await openClient(within);
    try {
      const replaces = isCovering(certificate) ? certificateId(certificate.leaf) : null;
      const { publish } = options;
      await obtainCertificate({ wish: settings, client, files, replaces, publish, signal: within, now });
    } finally {
      client.close();
    }
    const issued = await files.certificate();
    if (!isCovering(issued)) throw new OrderFailed(`What was written to ${folder} cannot be read again.`);
    const { fingerprint256: fingerprint, validTo } = issued.leaf;
    await save({
      ...known,
      failures: 0,
      retryAtMs: null,
      isRetrySetByCa: false,
      lastFailure: null,
      issued: { fingerprint, directory, atMs: now() },
      renewal: null,
    });
    options.onOrder('done');
    logger.info({ hosts, validTo: new Date(validTo).toISOString() }, 'a new certificate was issued');
  };

  const fail = async (error: unknown, { known, certificate }: Situation): Promise<void> => {
    const { isRefused, retryAfterMs, ownWaitMs } = judge(error, known.failures + 1, random);
    const failedAtMs = [...recentFailures(known.failedAtMs, now()), ...(isRefused ? [now()] : [])];
    const retryAtMs = Math.max(
      now() + Math.max(ownWaitMs, retryAfterMs ?? 0),
      nextOrderAllowed(failedAtMs, now()),
    );
    const text = describeFailure(error, folder);
    options.onOrder('failed');
    const failures = known.failures + 1;
    const isRetrySetByCa = (retryAfterMs ?? -1) >= ownWaitMs;
    const lastFailure = { atMs: now(), text };
    await save({ ...known, failedAtMs, failures, retryAtMs, isRetrySetByCa, lastFailure });
    const meanwhile =
      certificate === null ? 'A self-signed one answers meanwhile.' : 'The present one stays in use.';
    logger.error(
      { hosts, tries: failures, next: new Date(retryAtMs).toISOString() },
      `No certificate could be obtained: ${text} ${meanwhile}`,
    );
  };

  /** Orders while no other process does, if it is still time to. Returns how long to wait, in milliseconds. */
  const orderAlone = async (): Promise<number> => {
    const own = await takeFolder(folder);
    if (own === 'busy' && !isBusyTooLong()) return busyPauseMs;
    const shared = options.lock === null ? null : await options.lock(signal);
    try {
      if (shared === 'busy' && !isBusyTooLong()) return busyPauseMs;
      // Nobody knows whether another orders. Without a certificate, or soon without one, that does not matter.
      if (shared === 'unavailable' && status.hasCertificate && !(await isAlmostOver()))
        return 10 * busyPauseMs;
      busySinceMs = null;
      const situation = await assess(); // another may have ordered meanwhile
      if (Math.max(situation.dueAtMs, findAllowed(situation.known)) > now()) return 0;
      await order(situation).catch((error: unknown) => (signal.aborted ? undefined : fail(error, situation)));
      return 0;
    } finally {
      if (shared !== null && typeof shared !== 'string') shared.release();
      if (own !== 'busy') await own?.release();
    }
  };
  const isBusyTooLong = (): boolean => {
    busySinceMs = Math.min(busySinceMs ?? now(), now());
    const isTooLong = now() - busySinceMs > busyLimitMs;
    if (isTooLong)
      logger.warn(
        { folder },
        'another process seems to order for longer than an order takes: it is not waited for',
      );
    return isTooLong;
  };
  const isAlmostOver = async (): Promise<boolean> => {
    const certificate = await files.certificate();
    return certificate === null || lastPart(certificate.leaf) <= now();
  };

  const forget = async (): Promise<void> => {
    beginsAnew = false;
    const known = await readProgress();
    if (known.retryAtMs === null || known.isRetrySetByCa) return;
    await save({ ...known, retryAtMs: null, failures: 0 });
  };

  return {
    look: async () => {
      try {
        await files.prepare();
      } catch (error) {
        const situation = { known: await readProgress(), certificate: await files.certificate(), dueAtMs: 0 };
        if (findAllowed(situation.known) <= now()) await fail(error, situation);
      }
      if (beginsAnew) await forget();
      const nextAtMs = note(await assess());
      if (nextAtMs > now()) {
        busySinceMs = null;
        return nextAtMs - now();
      }
      const pauseMs = await orderAlone();
      note(await assess());
      return pauseMs;
    },
    beginAnew: () => {
      beginsAnew = true;
    },
    status: () => status,
    end: () => ending.abort(),
  };
}

/** Lets one process of this machine at a time order for a folder; null: there is no such lock here. */
async function takeFolder(folder: string) {
  if (process.platform !== 'linux') return null;
  const { dev, ino } = await stat(folder, { bigint: true });
  return (await takeName(`tidegate-acme-${dev}-${ino}`)) ?? 'busy';
}

/** Loads the CAs of tls.acme.ca. @throws OperatorError */
export function loadAcmeCa(path: string): Promise<Authorities> {
  return loadAuthorities(path, {
    whenMissing:
      "set tls.acme.ca to the PEM file of the CA that signed the certificate of the directory's server",
  });
}

/** The digest of the key of the account that these settings use (RFC 8555 section 8.1); null: there is none yet. */
export async function readAccountThumbprint(settings: AcmeSettings): Promise<string | null> {
  const account = await openAcmeFiles(
    settings.folder,
    nameAccount(settings.directory, settings.externalAccount?.keyId ?? null),
  ).account();
  const key = account === null ? null : readStoredKey(account.key);
  return key === null ? null : keyThumbprint(key);
}

/** Another CA, or another external account, has an account of its own. */
export function nameAccount(directory: string, keyId: string | null): string {
  return `${directory}\n${keyId ?? ''}`;
}

/** Judges a failure: whether the CA counts it, what it says about the next try, and how long we would wait ourselves. */
function judge(error: unknown, failures: number, random: () => number) {
  const refusal = error instanceof AcmeError ? error : null;
  const isRefused =
    error instanceof OrderFailed || (refusal !== null && refusal.status >= 400 && refusal.status < 500);
  const retryAfterMs = refusal?.retryAfterMs ?? null;
  const isLimited = refusal?.type === 'rateLimited' && retryAfterMs === null;
  return {
    isRefused,
    retryAfterMs,
    ownWaitMs: isLimited ? hourMs : waitAfter(isRefused ? 'refused' : 'not-reached', failures, random),
  };
}

function describeFailure(error: unknown, folder: string): string {
  if (error instanceof AcmeError || error instanceof OperatorError) return error.message;
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError') return 'The CA took too long.';
  return code === undefined ? `It failed: ${message}.` : describeFileError(error, folder);
}

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'make room there',
  EDQUOT: 'make room there',
  EROFS: 'it is read-only: set tls.acme.dir to a folder that the service may write to',
};

function describeFileError(error: unknown, folder: string): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  const remedy = remedies[code] ?? 'give it to the user of the service, with mode 0700';
  return `${folder} cannot be written to (${code}): ${remedy}.`;
}
