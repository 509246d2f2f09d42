import { readFile } from 'node:fs/promises';
import { describeReadError } from '../../system/files/file-status.ts';
import { replaceFile } from '../../system/files/locked-file.ts';
import { OperatorError } from '../../system/operator-error.ts';

/** A day on which a machine token was used, and the address that it came from that day. */
export type TokenUse = { readonly day: string; readonly address: string };

/** When machine tokens were used last. */
export type TokenUses = {
  /** The day from which on uses are known; null: none is. */
  readonly since: string | null;
  readonly used: ReadonlyMap<string, TokenUse>;
};

/** Remembers last uses, behind the requests' back. */
export type TokenUseRecorder = {
  /** Costs next to nothing; it writes nothing itself. */
  note(name: string, address: string): void;
  /** Writes what has not been written yet. */
  close(): Promise<void>;
};

const none: TokenUses = { since: null, used: new Map() };
const dayForm = /^\d{4}-\d{2}-\d{2}$/;
/** A first use is shown soon; jobs that each come from an address of their own do not write all the time. */
const firstWriteMs = 1000;
const writeEveryMs = 30_000;
/** Tokens and addresses of today that are known to have been written. */
const maxNoted = 100_000;

/** Where the last uses of the tokens in a file are kept: beside it. */
export function usesPathOf(tokenFile: string): string {
  return `${tokenFile.replace(/\.ya?ml$/, '')}.used.json`;
}

/** Reads when tokens were used; nothing is known where there is no file. @throws OperatorError when it cannot be read */
export async function readTokenUses(path: string): Promise<TokenUses> {
  try {
    return parseTokenUses(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return none;
    throw new OperatorError(`${path} does not say when tokens were used last: ${describeReadError(error)}.`);
  }
}

/**
 * Creates what writes each token's last use into a file, once for each day and address. A failure is logged once, and no request's
 * concern.
 *
 * @param options isToken: whether there is a token of this name now; what others were used for is dropped
 */
export function createTokenUseRecorder(options: {
  path: string;
  isToken: (name: string) => boolean;
  logger: Record<'warn', (fields: object, message: string) => void>;
  now: () => number;
}): TokenUseRecorder {
  const { path, isToken, logger, now } = options;
  const noted = new Set<string>();
  let notedDay = '';
  let pending = new Map<string, TokenUse>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> | undefined;
  let lastWriteMs = -Infinity;
  let failing = false;

  const write = async (): Promise<void> => {
    timer = undefined;
    const uses = pending;
    pending = new Map();
    lastWriteMs = performance.now();
    try {
      await replaceFile(path, (old) => Buffer.from(mergeUses(old?.toString() ?? '', uses, isToken)));
      failing = false;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!failing)
        logger.warn(
          { path },
          `When machine tokens were used last cannot be kept, so nothing warns of unused ones: ${reason}`,
        );
      failing = true;
    }
  };
  const schedule = (): void => {
    if (timer !== undefined || writing !== undefined) return;
    const waitMs = Math.max(firstWriteMs, lastWriteMs + writeEveryMs - performance.now());
    timer = setTimeout(() => {
      writing = write().finally(() => {
        writing = undefined;
        if (pending.size > 0) schedule();
      });
    }, waitMs).unref();
  };

  return {
    note: (name, address) => {
      const day = new Date(now()).toISOString().slice(0, 10);
      if (day !== notedDay || noted.size >= maxNoted) noted.clear();
      notedDay = day;
      const key = `${name} ${address}`;
      if (noted.has(key)) return;
      noted.add(key);
      pending.set(name, { day, address });
      schedule();
    },
    close: async () => {
      clearTimeout(timer);
      await writing;
      clearTimeout(timer);
      if (pending.size > 0) await write();
    },
  };
}

function mergeUses(
  text: string,
  uses: ReadonlyMap<string, TokenUse>,
  isToken: (name: string) => boolean,
): string {
  const old = parseOrNone(text);
  const used = new Map([...old.used].filter(([name]) => isToken(name)));
  for (const [name, use] of uses) if (use.day >= (used.get(name)?.day ?? '')) used.set(name, use);
  const [first] = [...uses.values()];
  const since = old.since ?? first?.day ?? null;
  return `${JSON.stringify({ since, used: Object.fromEntries([...used].sort(byName)) }, null, 1)}\n`;
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}

function parseOrNone(text: string): TokenUses {
  try {
    return parseTokenUses(text);
  } catch {
    return none;
  }
}

function parseTokenUses(text: string): TokenUses {
  const { since, used } = JSON.parse(text) as { since: unknown; used: Readonly<Record<string, unknown>> };
  return {
    since: typeof since === 'string' && dayForm.test(since) ? since : null,
    used: new Map(Object.entries(used).flatMap(([name, use]) => (isUse(use) ? [[name, use]] : []))),
  };
}

function isUse(value: unknown): value is TokenUse {
  const { day, address } = (value ?? {}) as Partial<Record<keyof TokenUse, unknown>>;
  return typeof day === 'string' && dayForm.test(day) && typeof address === 'string';
}
