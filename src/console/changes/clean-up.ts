import { askCleaner } from '../../clean/server/clean-client.ts';
import type { CleanCommand } from '../../clean/server/messages.ts';
import { runForm } from '../../clean/quarantine/clean-folder.ts';
import { isObject, readList, readObject, readText } from '../registry/foreign-json.ts';
import { OperatorError } from '../../system/operator-error.ts';

/** What the clean-up would take, and what it took. */
export type CleanModel =
  | { readonly kind: 'off' | 'unreachable' }
  /** It works on something else; the reason in English. */
  | { readonly kind: 'busy'; readonly why: string; readonly runs: readonly CleanRun[] }
  | {
      readonly kind: 'plan';
      readonly asOfMs: number;
      readonly nextRunMs: number | null;
      readonly hasRules: boolean;
      readonly goes: {
        readonly tags: number;
        readonly manifests: number;
        readonly blobs: number;
        readonly bytes: number;
      };
      readonly tags: readonly PlannedTag[];
      readonly warnings: readonly string[];
      readonly runs: readonly CleanRun[];
    };

export type PlannedTag = {
  readonly repository: string;
  readonly tag: string;
  readonly why: string;
  readonly pushedMs: number | null;
  readonly pulledMs: number | null;
  readonly bytes: number;
};

const runStates = ['half-done', 'in quarantine', 'half-undone', 'undone', 'purged'] as const;

export type CleanRun = {
  readonly run: string;
  readonly beganMs: number | null;
  readonly state: (typeof runStates)[number];
  readonly tags: number;
  readonly manifests: number;
  readonly bytes: number;
  readonly canUndo: boolean;
};

export type UndoResult =
  | { readonly kind: 'done' }
  /** It takes longer than a page waits, and goes on. */
  | { readonly kind: 'going-on' }
  /** In English. */
  | { readonly kind: 'failed'; readonly why: string };

/** Asks the cleaner for a visitor. */
export type CleanUp = { read(): Promise<CleanModel>; undo(run: string): Promise<UndoResult> };

const maxRuns = 10;
const maxTags = 50;
const maxWarnings = 5;
/** A plan of 50,000 tags; of a larger one nothing is shown. */
const maxAnswerBytes = 16 * 1024 * 1024;
const maxWaitMs = 20_000;
/** A plan reads all of the storage: it is made at most so often, whoever asks, unless a run or an undo made it old. */
const planEveryMs = 30_000;

/** @param options isCleaned: whether the configuration has a cleaner at all; now: milliseconds since the epoch */
export function createCleanUp(options: { socket: string; isCleaned: boolean; now: () => number }): CleanUp {
  const { socket, isCleaned, now } = options;
  let plan: {
    readonly madeMs: number;
    readonly after: string;
    readonly text: Promise<string | null>;
  } | null = null;

  const readPlan = (after: string): Promise<string | null> => {
    if (plan !== null && plan.after === after && now() - plan.madeMs < planEveryMs) return plan.text;
    const text = ask(socket, { command: 'plan', json: true, all: false, columns: 80 });
    plan = { madeMs: now(), after, text };
    text.catch(() => {
      if (plan?.text === text) plan = null;
    });
    return text;
  };

  return {
    read: async () => {
      try {
        const status = await ask(socket, { command: 'status', json: true });
        if (status === null) return { kind: isCleaned ? 'unreachable' : 'off' };
        const { job, runs: listed, nextRun, startedAt, lastRun } = readObject(JSON.parse(status));
        const runs = readList(listed).slice(0, maxRuns).map(readRun);
        const busy = (why: string): CleanModel => ({ kind: 'busy', why, runs });
        if (isObject(job)) return busy(`tidegate clean ${readText(job['name']) ?? ''}`.trim());
        try {
          const text = await readPlan(JSON.stringify([startedAt, lastRun, runs]));
          return text === null ? { kind: 'unreachable' } : readPlanOf(text, runs, readMs(nextRun));
        } catch (error) {
          return busy(sentenceOf(error));
        }
      } catch (error) {
        sentenceOf(error);
        return { kind: 'unreachable' };
      }
    },
    undo: async (run) => {
      if (!runForm.test(run)) return { kind: 'failed', why: 'There is no such run.' };
      const signal = AbortSignal.timeout(maxWaitMs);
      plan = null;
      try {
        const text = await ask(socket, { command: 'undo', run }, signal);
        return text === null ? { kind: 'failed', why: 'The cleaner does not run.' } : { kind: 'done' };
      } catch (error) {
        return signal.aborted ? { kind: 'going-on' } : { kind: 'failed', why: sentenceOf(error) };
      }
    },
  };
}

/** What the cleaner says; null: none runs. @throws OperatorError as {@link askCleaner}, or when it says too much or nothing in time */
async function ask(
  socket: string,
  command: CleanCommand,
  signal: AbortSignal = AbortSignal.timeout(maxWaitMs),
): Promise<string | null> {
  const parts: string[] = [];
  let length = 0;
  const onText = (text: string) => {
    length += text.length;
    if (length > maxAnswerBytes)
      throw new OperatorError('The cleaner says more than a page shows: ask it by command.');
    parts.push(text);
  };
  const end = await askCleaner(socket, command, { onText, signal });
  return end === null ? null : parts.join('');
}

/** @throws what is no error for an operator */
function sentenceOf(error: unknown): string {
  if (error instanceof OperatorError) return error.message;
  throw error;
}

function readPlanOf(text: string, runs: readonly CleanRun[], nextRunMs: number | null): CleanModel {
  const value = readObject(JSON.parse(text));
  const totals = readObject(value['totals']);
  const goesOf = (name: string) => readNumber(readObject(totals[name])['goes']);
  const tags = readList(value['repositories']).flatMap((item) => {
    const { repository, tags: listed } = readObject(item);
    return readList(listed).flatMap((tag) => readPlannedTag(String(repository), readObject(tag)));
  });
  return {
    kind: 'plan',
    asOfMs: readMs(value['asOf']) ?? 0,
    nextRunMs,
    hasRules: readList(value['rules']).length > 0,
    goes: {
      tags: goesOf('tags'),
      manifests: goesOf('manifests'),
      blobs: goesOf('blobs'),
      bytes: goesOf('bytes'),
    },
    tags: tags.slice(0, maxTags),
    warnings: readList(value['warnings']).slice(0, maxWarnings).map(String),
    runs,
  };
}

function readPlannedTag(repository: string, tag: Readonly<Record<string, unknown>>): readonly PlannedTag[] {
  if (tag['goes'] !== true) return [];
  return [
    {
      repository,
      tag: String(tag['tag']),
      why: String(tag['why']),
      pushedMs: readMs(tag['pushed']),
      pulledMs: readMs(tag['lastPull']),
      bytes: readNumber(tag['bytes']),
    },
  ];
}

function readRun(value: unknown): CleanRun {
  const { run, beganAt, state: named, taken, bytes } = readObject(value);
  const state = runStates.find((each) => each === named) ?? 'half-done';
  const { tags, manifests, layers, blobs } = readObject(taken);
  return {
    run: String(run),
    beganMs: readMs(beganAt),
    state,
    tags: readNumber(tags),
    manifests: readNumber(manifests),
    bytes: readNumber(bytes),
    // A tag whose image stays takes no bytes, and can come back as well.
    canUndo:
      state !== 'undone' &&
      state !== 'purged' &&
      [tags, manifests, layers, blobs].some((count) => readNumber(count) > 0),
  };
}

function readNumber(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** Null: no time. */
function readMs(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}
