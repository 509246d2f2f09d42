import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { describeReadError, isDescriptorShortage, readStatus, withOpenFile } from './file-status.ts';
import { watchFiles } from './file-watch.ts';

/** What a file held when it was read. */
export type FileContent = {
  /** SHA-256 of the bytes, to tell whether other content has come. */
  readonly digest: string;
  readonly bytes: Buffer;
  /** Permission bits; 0 for a file that does not exist. */
  readonly mode: number;
  /** The file's status; undefined when it may not tell this content from the next. */
  readonly signature: string | undefined;
};

/** A file that is watched: its value is that of the content in effect now. */
export type FollowedFile<T> = {
  readonly value: () => T;
  /** A number that grows whenever other content has come into effect. */
  readonly generation: () => number;
  /** Reads the file at once. @throws OperatorError when it cannot be used; nothing has changed then. */
  readonly reread: () => Promise<RereadFile>;
  readonly close: () => void;
};

/** A file that has just been read, and is not in effect yet. */
export type RereadFile = {
  /** Whether its content is other than what is in effect. */
  readonly isNew: boolean;
  use(): void;
};

export type FollowLogger = Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>;

export type FollowOptions<T> = {
  readonly path: string;
  /** What it is, in sentences, such as `htpasswd file`. */
  readonly name: string;
  /** What stays in effect while it cannot be used, in sentences. */
  readonly lastGood: string;
  /** Reads it. @throws Error that `describeReadError` puts in words */
  readonly read: (path: string) => Promise<FileContent>;
  /** @throws Error with the reason why the content cannot be used */
  readonly parse: (content: FileContent) => T;
  /** The error for the operator when it cannot be read at the start, or by {@link FollowedFile.reread}. */
  readonly explain: (error: unknown) => Error;
  /** Fields for the log line about a change. */
  readonly describe: (value: T) => object;
  /** Says what is not as it should be in what has come into effect. */
  readonly warn: (value: T) => void;
  readonly logger: FollowLogger;
};

/**
 * Loads a file and follows its changes, in effect within a second; one that cannot be used any more keeps the last good content.
 * @throws what `explain` gives when the file cannot be used at the start
 */
export async function followFile<T>(options: FollowOptions<T>): Promise<FollowedFile<T>> {
  const { path, name, logger, read, parse } = options;
  let { content, value } = await loadFile(options);
  let generation = 1;
  let failing = false;
  options.warn(value);

  async function follow(signature: string): Promise<string | undefined> {
    try {
      const next = await read(path);
      accept(next);
      if (failing) logger.info({ path }, `The ${name} ${path} can be used again.`);
      failing = false;
      return next.signature;
    } catch (error) {
      if (isDescriptorShortage(error)) return undefined; // looked at again as soon as there is one
      if (!failing) {
        const reason = `The ${name} ${path} cannot be used (${describeReadError(error)})`;
        logger.error({ path }, `${reason}: ${options.lastGood}.`);
      }
      failing = true;
      return signature;
    }
  }

  function accept(next: FileContent): void {
    const isSame = next.digest === content.digest;
    if (!isSame) value = parse(next);
    content = next;
    if (isSame) return;
    generation += 1;
    logger.info({ path, ...options.describe(value) }, `The ${name} ${path} has changed: it is in effect.`);
    options.warn(value);
  }

  const watch = watchFiles({ paths: () => [path], actedOn: content.signature, act: follow });
  return {
    value: () => value,
    generation: () => generation,
    reread: async () => {
      const before = content;
      try {
        const next = await read(path);
        parse(next);
        return {
          isNew: next.digest !== before.digest,
          use: () => {
            // Else it was read again meanwhile, if only to find it as before.
            if (content === before) accept(next);
            // What was read may be older than what the watch has seen last.
            watch.lookAgain();
          },
        };
      } catch (error) {
        throw options.explain(error);
      }
    },
    close: () => watch.close(),
  };
}

async function loadFile<T>({
  path,
  read,
  parse,
  explain,
}: FollowOptions<T>): Promise<{ content: FileContent; value: T }> {
  try {
    const content = await read(path);
    return { content, value: parse(content) };
  } catch (error) {
    throw explain(error);
  }
}

/** Reads a regular file of bounded size; of a larger one, a byte more than that. @throws Error that `describeReadError` puts in words */
export async function readFileContent(path: string, maxBytes: number): Promise<FileContent> {
  return withOpenFile(path, async (file) => {
    const status = await file.stat();
    if (!status.isFile()) throw new Error('it is not a regular file');
    const before = await readStatus(file);
    const bytes = await readBounded(file, maxBytes + 1);
    const after = await readStatus(file);
    return {
      digest: createHash('sha256').update(bytes).digest('hex'),
      bytes,
      mode: status.mode & 0o7777,
      signature: after.isRecent || before.signature !== after.signature ? undefined : after.signature,
    };
  });
}

async function readBounded(file: FileHandle, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  while (total < maxBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(65536, maxBytes - total));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    total += bytesRead;
  }
  return Buffer.concat(chunks);
}
