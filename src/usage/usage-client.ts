import { createWriteStream } from 'node:fs';
import { constants, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { OperatorError } from '../system/operator-error.ts';
import { connectTo } from '../system/unix-socket.ts';
import { openUsageFile } from './usage-file.ts';
import { usagePaths } from './usage-place.ts';
import { afterPage, readPage, type UsageAnswer, type UsageQuestion } from './usage-question.ts';
import type { UsageTimes } from './usage-server.ts';

/** What the record says. */
export type UsageReport<Question extends UsageQuestion> = UsageTimes & {
  /** Whether a running Tidegate said it; if not, it was read from the file. */
  readonly isRunning: boolean;
  readonly rows: readonly UsageAnswer<Question>[];
};

const silenceMs = 10_000;

/**
 * Asks the Tidegate that has the record open; without one it reads the file. Null: there is no record.
 *
 * @throws OperatorError when it can be neither asked nor read
 */
export async function askUsage<Question extends UsageQuestion>(
  stateDir: string,
  question: Question,
): Promise<UsageReport<Question> | null> {
  const { folder, file, socket: path } = usagePaths(stateDir);
  try {
    const socket = await connectTo(path);
    if (socket === null) return await readCopy(file, question);
    socket.setTimeout(silenceMs, () => socket.destroy(new Error('Tidegate does not answer')));
    socket.end(`${JSON.stringify(question)}\n`);
    return await readAnswer(linesOf(socket));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      throw new OperatorError(
        `The record in ${folder} is for the service's user alone: run this as that user, or as root.`,
      );
    throw new OperatorError(`The record in ${folder} cannot be read: ${message}.`, { cause: error });
  }
}

async function readAnswer<Question extends UsageQuestion>(
  lines: AsyncIterable<string>,
): Promise<UsageReport<Question>> {
  let times: UsageTimes | undefined;
  const rows: UsageAnswer<Question>[] = [];
  for await (const line of lines) {
    const value = JSON.parse(line) as { end?: true; error?: string };
    if (value.error !== undefined) throw new Error(value.error);
    if (value.end === true && times) return { ...times, isRunning: true, rows };
    if (times === undefined) times = value as UsageTimes;
    else rows.push(value as UsageAnswer<Question>);
  }
  throw new Error('Tidegate broke off its answer');
}

async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of pieces) {
    const [last = '', ...lines] = (rest + decoder.decode(piece, { stream: true })).split('\n').toReversed();
    yield* lines.toReversed();
    rest = last;
  }
}

/** Reads a copy: a reader must not be in the way of a Tidegate that starts meanwhile. */
async function readCopy<Question extends UsageQuestion>(
  file: string,
  question: Question,
): Promise<UsageReport<Question> | null> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-usage-'));
  const copy = join(folder, 'usage.db');
  try {
    if (!(await copyIfThere(file, copy))) return null;
    await copyIfThere(`${file}-wal`, `${copy}-wal`);
    const limits = { maxRows: Infinity, maxBytes: Infinity };
    const opened = openUsageFile(copy, { breaksLock: false, limits, sinceMs: Date.now() });
    try {
      const rows: UsageAnswer[] = [];
      for (let next: UsageQuestion | null = question; next !== null;) {
        const page = readPage(opened, next);
        rows.push(...page);
        next = afterPage(next, page);
      }
      const { since } = opened;
      return { asOf: Date.now(), since, isRunning: false, rows: rows as UsageAnswer<Question>[] };
    } finally {
      opened.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest record that may be configured, with its journal. */
const maxCopyBytes = 5 * 1024 ** 3;

/** Copies a regular file. Whoever asks may be root, and the folder is not root's: no link is followed, no FIFO waited for. */
async function copyIfThere(from: string, to: string): Promise<boolean> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    const file = await open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new Error(`${from} is not a regular file`);
      if (status.size > maxCopyBytes) throw new Error(`${from} is larger than any record`);
      await pipeline(
        file.createReadStream({ autoClose: false, end: maxCopyBytes }),
        createWriteStream(to, { mode: 0o600 }),
      );
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
