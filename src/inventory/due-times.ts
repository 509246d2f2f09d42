const hourMs = 60 * 60 * 1000;
const dayMs = 24 * hourMs;

/** When something that is there is to be read next: these come first, in this order. */
export const due = { now: 0, soon: 1 } as const;

/**
 * What passes through Tidegate is noted at once; reading again finds what went around it. The lists are cheap: a request
 * for each repository.
 */
export const listsEveryMs = dayMs;
/** A tag that moved lately is read again sooner: each costs a request, and storages in a cloud charge for it. */
const movedLatelyMs = 7 * dayMs;
const manifestEveryMs = { moving: dayMs, resting: 7 * dayMs };
/** What gave no answer of use is asked again so much later. */
export const afterFailureMs = hourMs;

/** Since when a push counts as lately. */
export function lately(nowMs: number): number {
  return nowMs - movedLatelyMs;
}

/** When to read a tag again. Spread over a seventh more, so that not all fall due together. */
export function nextReadMs(nowMs: number, { isMoving }: { isMoving: boolean }): number {
  const every = isMoving ? manifestEveryMs.moving : manifestEveryMs.resting;
  return nowMs + Math.round(every * (1 + Math.random() / 7));
}

/** The same for a list. */
export function nextListMs(nowMs: number): number {
  return nowMs + Math.round(listsEveryMs * (1 + Math.random() / 7));
}
