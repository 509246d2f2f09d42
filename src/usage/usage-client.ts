import { createWriteStream, rmSync } from 'node:fs';
import { constants, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { OperatorError } from '../system/operator-error.ts';
import { connectTo } from '../system/unix-socket.ts';
import { openUsageFile, type UsageFile } from './usage-file.ts';
import { usagePaths } from './usage-place.ts';
import { afterPage, readPage, type UsageAnswer, type UsageQuestion } from './usage-question.ts';
import type { UsageTimes } from './usage-server.ts';

/** What the record says. */
export type UsageReport<Question extends UsageQuestion> = UsageTimes & {
  /** Whether a running Tidegate said it; if not, it was read from the file. */
  readonly isRunning: boolean;
  readonly rows: readonly UsageAnswer<Question>[];
};

/** The record, for one question after the other. */
export type UsageReader = {
  /** @throws OperatorError when it can be neither asked nor read */
  ask<Question extends UsageQuestion>(question: Question): Promise<UsageReport<Question>>;
  close(): Promise<void>;
};

const silenceMs = 10_000;

/** Asks one question. Null: there is no record. @throws OperatorError when it can be neither asked nor read */
export async function askUsage<Question extends UsageQuestion>(
  stateDir: string,
  question: Question,
): Promise<UsageReport<Question> | null> {
  const reader = await openUsageReader(stateDir);
  try {
    return reader && (await reader.ask(question));
  } finally {
    await reader?.close();
  }
}

/**
 * Opens the record at the Tidegate that has it open; without one a copy of the file. Null: there is no record.
 *
 * @throws OperatorError when it can be neither asked nor read
 */
export async function openUsageReader(stateDir: string): Promise<UsageReader | null> {
  const { folder, file, socket: path } = usagePaths(stateDir);
  const explained = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    try {
      return await act();
    } catch (error) {
      throw explain(error as NodeJS.ErrnoException, folder);
    }
  };
  return explained(async () => {
    let first = await connectTo(path);
    const copy = first === null ? await openCopy(file) : null;
    if (first === null && copy === null) return null;
    return {
      ask: (question) =>
        explained(async () => {
          if (copy !== null) return copy.ask(question);
          const socket = first ?? (await connectTo(path));
          first = null;
          if (socket === null) throw new Error('the Tidegate that had it open has stopped');
          socket.setTimeout(silenceMs, () => socket.destroy(new Error('Tidegate does not answer')));
          socket.end(`${JSON.stringify(question)}\n`);
          return readAnswer(linesOf(socket));
        }),
      close: async () => {
        first?.destroy();
        await copy?.close();
      },
    };
  });
}

function explain(error: NodeJS.ErrnoException, folder: string): OperatorError {
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new OperatorError(
      `The record in ${folder} is for the service's user alone: run this as that user, or as root.`,
    );
  return new OperatorError(`The record in ${folder} cannot be read: ${error.message}.`, { cause: error });
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

type UsageCopy = {
  ask<Question extends UsageQuestion>(question: Question): UsageReport<Question>;
  close(): Promise<void>;
};

/** Opens a copy: a reader must not be in the way of a Tidegate that starts meanwhile. Null: there is no file. */
async function openCopy(file: string): Promise<UsageCopy | null> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-usage-'));
  const removeAtExit = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  const remove = async () => {
    await rm(folder, { recursive: true, force: true });
    process.off('exit', removeAtExit);
  };
  try {
    const path = join(folder, 'usage.db');
    if (!(await copyIfThere(file, path))) {
      await remove();
      return null;
    }
    await copyIfThere(`${file}-wal`, `${path}-wal`);
    const limits = { maxRows: Infinity, maxBytes: Infinity };
    const opened = openUsageFile(path, { breaksLock: false, limits, sinceMs: Date.now() });
    const asOf = Date.now();
    return {
      ask: (question) => ({
        ...{ asOf, since: opened.since, isRunning: false },
        rows: readRows(opened, question),
      }),
      close: async () => {
        opened.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

function readRows<Question extends UsageQuestion>(
  file: UsageFile,
  question: Question,
): readonly UsageAnswer<Question>[] {
  const rows: UsageAnswer[] = [];
  for (let next: UsageQuestion | null = question; next !== null;) {
    const page = readPage(file, next);
    rows.push(...page);
    next = afterPage(next, page);
  }
  return rows as UsageAnswer<Question>[];
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
