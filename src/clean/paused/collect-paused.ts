import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { headerValues } from '../../http/raw-headers.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { Doors } from '../channel/doors.ts';
import type { DoorRequest, DoorResponse } from '../channel/messages.ts';
import { asTrial } from './collector-command.ts';
import { keepCollector, type Collection } from './keep-collector.ts';
import type { Ended } from './keeper-messages.ts';

export type CollectOptions = {
  readonly doors: Pick<Doors, 'check' | 'evidence' | 'request' | 'pause'>;
  readonly collector: readonly string[];
  readonly restart: readonly string[];
  readonly maxPauseMs: number;
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  readonly onProgress: (phase: string, done: number) => void;
  /** Aborted: ends the collector, and the pause. */
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

export type CollectResult =
  /** There is nothing to collect, and there was no pause. */
  | { readonly kind: 'nothing' }
  /** A blob that would go was lately pushed, pulled or asked for. */
  | { readonly kind: 'postponed'; readonly why: string; readonly untilMs: number }
  | { readonly kind: 'collected'; readonly blobs: number; readonly pausedMs: number };

/** Where a blob is pushed that the collector must take. Nobody else uses this repository. */
export const probeRepository = 'tidegate-clean/probe';
const smallBytes = 64 * 1024;
/** The most digests of one question to the front doors. */
const askedDigests = 10_000;
const retryMs = 1000;
const complainEveryMs = 60_000;

/**
 * Runs the registry's own collector while the front doors hold writes. A trial before it says what would go; nothing of that
 * may have been pushed, pulled or asked for within the grace.
 *
 * @throws OperatorError when the collector cannot be run, fails or takes too long; writes go on in any case
 */
export async function collectPaused(options: CollectOptions): Promise<CollectResult> {
  const { doors, collector, maxPauseMs, signal, now } = options;
  const { leasesSince, graceMs } = await doors.check();
  const knownFromMs = leasesSince + graceMs;
  if (now() < knownFromMs)
    return postpone('The front doors do not know yet what was asked for within clean.grace', knownFromMs);

  const before = await tryCollector(options, maxPauseMs, 'looking for what goes');
  if (before.takes.size === 0) return { kind: 'nothing' };
  const inUse = await findInUse(options, [...before.takes], graceMs);
  if (inUse !== null) return inUse;

  const probe = await pushProbe(doors);
  const startedMs = performance.now();
  const leftMs = () => Math.max(1, maxPauseMs - (performance.now() - startedMs));
  const paused = await doors.pause(maxPauseMs);
  if (paused === null)
    throw new OperatorError(
      'Writes under way did not end in a minute, so that there was no pause: try again.',
    );
  try {
    const under = { ...options, signal: AbortSignal.any([signal, paused.lost]) };
    const trial = await tryCollector(under, leftMs(), 'paused: looking for what goes');
    if (!trial.takes.has(probe.digest))
      throw new OperatorError(
        `${nameOf(collector)} would not take a blob that was just pushed: does its configuration name the storage of the registry at upstream.url? Nothing was taken.`,
      );
    const takes = [...trial.takes].filter((digest) => digest !== probe.digest);
    const late = await findInUse(options, takes, graceMs);
    if (late !== null) return late;
    if (trial.ms > leftMs())
      throw new OperatorError(
        `${nameOf(collector)} takes ${seconds(trial.ms)} only to look, and a pause may last ${seconds(maxPauseMs)}: raise clean.maxPause. Nothing was taken.`,
      );
    const collection = await collect(under, leftMs());
    await waitForRegistry(under, probe, collection);
    paused.lost.throwIfAborted();
    const pausedMs = performance.now() - startedMs;
    if (collection.code !== 0) throw failed(options, collection);
    // Without its probe.
    return { kind: 'collected', blobs: collection.takes.size - 1, pausedMs };
  } finally {
    await paused.resume();
  }
}

function postpone(why: string, untilMs: number): CollectResult {
  return { kind: 'postponed', why, untilMs };
}

/** Asks the collector what it would take. @throws OperatorError */
export async function tryCollector(
  { collector, onProgress, signal }: Pick<CollectOptions, 'collector' | 'onProgress' | 'signal'>,
  maxMs: number,
  phase: string,
): Promise<Collection & { readonly ms: number }> {
  const startedMs = performance.now();
  const trial = await keepCollector({
    ...{ command: asTrial(collector), maxMs, restart: [], signal },
    onLines: (count) => onProgress(phase, count),
  });
  signal.throwIfAborted();
  if (trial.code !== 0)
    throw new OperatorError(`${nameOf(asTrial(collector))} ${describe(trial, maxMs)} Nothing was taken.`);
  return { ...trial, ms: performance.now() - startedMs };
}

/** Whether any of these was lately answered; null: none was. */
async function findInUse(
  { doors, now }: CollectOptions,
  digests: readonly string[],
  graceMs: number,
): Promise<CollectResult | null> {
  const nowMs = now();
  let count = 0;
  let lastMs = 0;
  for (let at = 0; at < digests.length; at += askedDigests) {
    const { leases } = await doors.evidence({ digests: digests.slice(at, at + askedDigests) });
    for (const lease of leases) {
      if (nowMs - lease > graceMs) continue;
      count += 1;
      lastMs = Math.max(lastMs, lease);
    }
  }
  if (count === 0) return null;
  const [blobs, were] = count === 1 ? ['blob', 'was'] : ['blobs', 'were'];
  return postpone(
    `${count} ${blobs} that would go ${were} pushed, pulled or asked for within clean.grace`,
    lastMs + graceMs,
  );
}

type Probe = { readonly digest: string; readonly isThere: () => Promise<boolean | null> };

/** Pushes a blob that no manifest names, and has the registry remember it, if it remembers any. */
async function pushProbe(doors: CollectOptions['doors']): Promise<Probe> {
  const content = randomBytes(32);
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  const ask = (request: Omit<DoorRequest, 'headers' | 'maxBytes'>) =>
    doors.request({
      headers: request.bodyBase64 === undefined ? {} : { 'Content-Type': 'application/octet-stream' },
      maxBytes: smallBytes,
      ...request,
    });
  const begun = await ask({ method: 'POST', rawTarget: `/v2/${probeRepository}/blobs/uploads/` });
  const place = targetOf(begun);
  const rawTarget = `${place}${place.includes('?') ? '&' : '?'}digest=${digest}`;
  const ended = await ask({ method: 'PUT', rawTarget, bodyBase64: content.toString('base64') });
  const isThere = async () => {
    const { status } = await ask({ method: 'HEAD', rawTarget: `/v2/${probeRepository}/blobs/${digest}` });
    if (status === 404) return false;
    // With redirects it names the place instead.
    return status === 200 || status === 307 ? true : null;
  };
  if (ended.status !== 201 || (await isThere()) !== true)
    throw new OperatorError(
      `The registry did not take a blob to try it (${begun.status}, ${ended.status} in ${probeRepository}): nothing was taken.`,
    );
  return { digest, isThere };
}

function targetOf({ status, rawHeaders }: DoorResponse): string {
  const [place = ''] = headerValues(rawHeaders, 'location');
  if (status !== 202 || place === '')
    throw new OperatorError(`The registry took no upload to try it (${status}): nothing was taken.`);
  const url = new URL(place, 'http://registry');
  return `${url.pathname}${url.search}`;
}

async function collect(options: CollectOptions, maxMs: number): Promise<Collection> {
  const { collector, restart, logger, onProgress, signal } = options;
  logger.info({ command: collector }, 'collector started');
  signal.throwIfAborted();
  const kept = {
    ...{ maxMs, restart, signal },
    onLines: (count: number) => onProgress('paused: collecting', count),
    onRestarted: (ended: Ended) => {
      if (ended.code === 0) logger.info({ command: restart }, 'registry restarted');
      else
        logger.error(
          { command: restart, code: ended.code, output: ended.lastLines },
          'the registry could not be restarted (clean.restart)',
        );
    },
  };
  const collection = await keepCollector({ ...kept, command: collector });
  // Its keeper was killed.
  if (restart.length > 0 && !collection.isRestarted && !signal.aborted)
    await keepCollector({ ...kept, command: [] });
  const { code, takes, lastLines, isLate } = collection;
  const fields = { code, blobs: takes.size, isLate, output: lastLines };
  if (code === 0) logger.info({ ...fields, output: lastLines.slice(-1) }, 'collector ended');
  else logger.error(fields, 'collector failed');
  return collection;
}

/**
 * Waits until the registry answers again and knows that the probe is gone. One that was not restarted may remember blobs
 * that are gone, and then takes images that name them: writes do not go on before it has forgotten.
 */
async function waitForRegistry(
  { restart, logger, onProgress, signal }: CollectOptions,
  probe: Probe,
  collection: Collection,
): Promise<void> {
  // A collector that was broken off may have left the probe.
  const isTaken = collection.code === 0;
  let complainedMs = -Infinity;
  for (;;) {
    const isThere = await probe.isThere().catch(() => null);
    if (isThere === false || (isThere === true && !isTaken)) return;
    if (signal.aborted) return;
    onProgress(isThere === null ? 'paused: waiting for the registry' : 'paused: the registry remembers', 0);
    if (performance.now() - complainedMs >= complainEveryMs) {
      if (complainedMs !== -Infinity || isThere === true)
        logger.error(
          isThere === null
            ? 'the registry does not answer: writes go on when it does'
            : `the registry still has a blob that its collector took: restart it (clean.restart${restart.length === 0 ? ' is empty' : ''}), and keep its cache (storage.cache) in memory; writes wait until then`,
        );
      complainedMs = performance.now();
    }
    await pause(retryMs, undefined, { signal }).catch(() => {});
  }
}

function failed({ collector, maxPauseMs }: CollectOptions, collection: Collection): OperatorError {
  return new OperatorError(
    `${nameOf(collector)} ${describe(collection, maxPauseMs)} What it took is gone, writes go on, and the next run takes the rest.`,
  );
}

function describe({ code, isLate, lastLines }: Collection, maxMs: number): string {
  const said = lastLines.length === 0 ? '' : ` It said: ${lastLines.slice(-3).join(' / ').slice(0, 500)}.`;
  if (isLate) return `did not end within ${seconds(maxMs)} (clean.maxPause) and was killed.${said}`;
  return code === null ? `was killed or could not be started.${said}` : `ended with code ${code}.${said}`;
}

const nameOf = (words: readonly string[]) => `The collector (${words.join(' ')})`;
const seconds = (ms: number) => `${Math.max(1, Math.round(ms / 1000))} s`;
