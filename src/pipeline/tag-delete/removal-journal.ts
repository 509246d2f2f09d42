import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';
import { isTombstone, type Tombstone } from '../../registry/tombstone.ts';

/** A tag that is moved to a tombstone. */
export type Removal = {
  /** The URL of its registry. */
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
  readonly tombstone: Tombstone;
};

export type NotedRemoval = Removal & {
  /** How long ago it was noted, in milliseconds. */
  readonly ageMs: number;
};

/** The removals that may not have ended, on disk. Several processes may use one folder. */
export type RemovalJournal = {
  /** Resolves once a power cut leaves it noted. @throws Error when it cannot be written */
  note(removal: Removal): Promise<void>;
  /** @param digest that of its tombstone */
  forget(digest: string): Promise<void>;
  /** Those that are noted, the oldest first; none without the folder. @throws Error when it cannot be read */
  list(): Promise<readonly NotedRemoval[]>;
  has(digest: string): Promise<boolean>;
};

/** Far more than there are. Each is one that the registry did not bring to its end. */
const maxNoted = 10_000;
const ending = '.json';
const fileForm = /^[0-9a-f]{64}\.json$/;

/** @param folder is created when something is noted */
export function createRemovalJournal(folder: string): RemovalJournal {
  const fileOf = (digest: string) => join(folder, digest.slice('sha256:'.length) + ending);
  return {
    note: async ({ registry, repository, tag, tombstone }) => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if ((await readdir(folder)).length >= maxNoted)
        throw new Error(`${folder} has ${maxNoted} files: removals that the registry has not finished`);
      const file = fileOf(tombstone.digest);
      const unfinished = `${file}.new`;
      const { digest, body } = tombstone;
      const text = JSON.stringify({ registry, repository, tag, digest, body: body.toString() });
      await writeSynced(unfinished, text).catch(async (error: unknown) => {
        await unlink(unfinished).catch(() => {});
        throw error;
      });
      await rename(unfinished, file);
      await syncFolder(folder);
    },
    forget: (digest) => unlink(fileOf(digest)).catch(unlessMissing(undefined)),
    has: (digest) =>
      stat(fileOf(digest))
        .then(() => true)
        .catch(unlessMissing(false)),
    list: async () => {
      const names = await readdir(folder).catch(unlessMissing<string[]>([]));
      const noted = await Promise.all(
        names.filter((name) => fileForm.test(name)).map((name) => read(join(folder, name))),
      );
      return noted.filter((each) => each !== null).toSorted((one, other) => other.ageMs - one.ageMs);
    },
  };
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the rename itself survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Null: it has ended meanwhile, or somebody else put it there. */
async function read(file: string): Promise<NotedRemoval | null> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
    const value = JSON.parse(text) as Record<string, unknown>;
    const [registry, repository, tag, digest, body] = ['registry', 'repository', 'tag', 'digest', 'body'].map(
      (name) => String(value[name]),
    ) as [string, string, string, string, string];
    const isOwn = isTombstone(Buffer.from(body)) && digest === `sha256:${hash('sha256', body)}`;
    if (!isOwn || !isRepositoryName(repository) || !tagForm.test(tag)) return null;
    return {
      ...{ registry, repository, tag },
      tombstone: { digest, body: Buffer.from(body) },
      ageMs: Date.now() - mtimeMs,
    };
  } catch {
    return null;
  }
}

function unlessMissing<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return instead;
    throw error;
  };
}
