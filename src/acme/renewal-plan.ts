import type { X509Certificate } from 'node:crypto';
import type { Progress } from './acme-files.ts';

const hourMs = 3_600_000;
const minuteMs = 60_000;

/** How often orders may fail in an hour: Let's Encrypt's limit on failed validations for an account and a name. */
export const maxFailuresPerHour = 5;

/** A random number from 0 to 1. */
export type Random = () => number;

/**
 * When to renew where the CA says nothing: with a third of its life left, at random a little earlier, so that not all
 * certificates of a CA's outage are renewed in one moment. In milliseconds since the epoch.
 */
export function chooseRenewal(
  { validFrom, validTo }: Pick<X509Certificate, 'validFrom' | 'validTo'>,
  random: Random,
) {
  const end = Date.parse(validTo);
  const lifeMs = end - Date.parse(validFrom);
  return Math.round(end - lifeMs / 3 - random() * (lifeMs / 30));
}

/**
 * When to renew within the window that the CA suggests (RFC 9773 section 4.2). One that lies behind us, or that leaves
 * less than the last tenth of the life for tries that fail, counts as far as it can.
 */
export function chooseWithin(
  window: { readonly start: string; readonly end: string },
  certificate: Pick<X509Certificate, 'validFrom' | 'validTo'>,
  random: Random,
): number {
  const start = Date.parse(window.start);
  const end = Math.max(start, Date.parse(window.end));
  return Math.round(Math.min(start + random() * (end - start), lastPart(certificate)));
}

/** When the last tenth of its life begins, in milliseconds since the epoch: from then on nobody is waited for. */
export function lastPart({ validFrom, validTo }: Pick<X509Certificate, 'validFrom' | 'validTo'>): number {
  const end = Date.parse(validTo);
  return end - (end - Date.parse(validFrom)) / 10;
}

/** How long a new certificate is used whatever the CA says: a sixth of its life, at most a day. In milliseconds. */
export function leastLife({ validFrom, validTo }: Pick<X509Certificate, 'validFrom' | 'validTo'>): number {
  return Math.min(24 * hourMs, (Date.parse(validTo) - Date.parse(validFrom)) / 6);
}

export const longestAskPauseMs = 24 * hourMs;
/** How long until the CA is asked about it again: as it says, from a minute to a day. In milliseconds. */
export function askAgainIn(retryAfterMs: number | null): number {
  return Math.min(Math.max(retryAfterMs ?? 6 * hourMs, minuteMs), longestAskPauseMs);
}

/** A refused order counts at the CA; where it was not reached, or this machine could write nothing, it does not. */
export type FailureKind = 'refused' | 'not-reached';

const refusedWaitsMs = [
  30_000,
  2 * minuteMs,
  10 * minuteMs,
  30 * minuteMs,
  hourMs,
  2 * hourMs,
  4 * hourMs,
  6 * hourMs,
];
const firstWaitMs = 10_000;
const longestWaitMs = 10 * minuteMs;

/** How long to wait after this many failures in a row, in milliseconds. */
export function waitAfter(kind: FailureKind, failures: number, random: Random): number {
  const waitMs =
    kind === 'refused'
      ? (refusedWaitsMs[Math.min(failures, refusedWaitsMs.length) - 1] ?? firstWaitMs)
      : Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(failures - 1, 20));
  return Math.round(waitMs * (1 + random() / 10));
}

/** When the next order may fail without more than five having failed within an hour; in milliseconds since the epoch. */
export function nextOrderAllowed(failedAtMs: readonly number[], nowMs: number): number {
  const recent = recentFailures(failedAtMs, nowMs);
  const oldest = recent.at(-maxFailuresPerHour);
  return oldest === undefined ? nowMs : oldest + hourMs + 1000;
}

/** The failures within the last hour. A clock that was ahead must not keep them for ever. */
export function recentFailures(failedAtMs: readonly number[], nowMs: number): number[] {
  return failedAtMs.filter((at) => at > nowMs - hourMs && at <= nowMs + minuteMs).toSorted((a, b) => a - b);
}

/** Counts the wait after a failure from now on when the clock was ahead at that time, and has been set right since. */
export function putRight(progress: Progress, nowMs: number): Progress {
  const { lastFailure, retryAtMs } = progress;
  if (lastFailure === null || lastFailure.atMs <= nowMs + minuteMs) return progress;
  const aheadMs = lastFailure.atMs - nowMs;
  return {
    ...progress,
    retryAtMs: retryAtMs === null ? null : retryAtMs - aheadMs,
    lastFailure: { ...lastFailure, atMs: nowMs },
  };
}
