import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { copyCertificate } from '../../test/support/certificate-files.ts';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { mainPath, run, type Finished } from '../../test/support/processes.ts';
import { until } from '../../test/support/redis.ts';
import type { Form, Trial } from '../trial.ts';
import type { Bystander } from './bystander.ts';
import { canMount, makeSmallDisk, type SmallDisk } from './small-disk.ts';

export type DiskFaultsPlace = {
  readonly form: Form;
  readonly frontDoor: FrontDoor;
  readonly bystander: Bystander;
  /** The path of Tidegate's access log; null without one. */
  readonly logDisk: SmallDisk | null;
};

/** Runs the program where the disk or a limit leaves files no room to grow. */
type Cramped = {
  readonly folder: string;
  tidegate(args: readonly string[], input?: string): Promise<Finished>;
  /** Makes room again. */
  relax(): Promise<void>;
};

/** Reads all files of a folder by name; none without the folder. */
async function readFolder(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder).catch(() => []);
  const contents = await Promise.all(names.map((name) => readFile(path.join(folder, name), 'latin1')));
  return new Map(names.map((name, i) => [name, contents[i] ?? '']));
}

function assertSame(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  when: string,
): void {
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (name) => before.get(name) !== after.get(name),
  );
  if (changed.length > 0) throw new Error(`${when}: changed ${changed.join(', ')}`);
}

const users = Array.from(
  { length: 150 },
  (_, i) => `user${i}:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n`,
).join('');

/** A command to run without room, on files that exist before. */
type Attempt = {
  readonly name: string;
  prepare(folder: string): Promise<void>;
  /** Its arguments: it writes into the folder. */
  readonly args: (folder: string) => readonly string[];
  /** Whether all that it should write is there, complete. */
  readonly isDone: (files: ReadonlyMap<string, string>) => boolean;
};

const withUsers = (folder: string) => writeFile(path.join(folder, 'htpasswd'), users);
const withCertificate = async (folder: string) => {
  const made = await mkdtemp(path.join(tmpdir(), 'tidegate-certs-'));
  await copyCertificate(made, ['localhost']);
  for (const name of await readdir(made)) await copyFile(path.join(made, name), path.join(folder, name));
  await rm(made, { recursive: true });
};
const isPem = (text = '') => /^-----BEGIN [^]+-----END [A-Z ]+-----\s*$/.test(text);
const hasPair = (files: ReadonlyMap<string, string>) =>
  ['ca.crt', 'ca.key', 'server.crt', 'server.key'].every((name) => isPem(files.get(name)));
const attempts: readonly Attempt[] = [
  {
    name: 'user add',
    prepare: withUsers,
    args: (folder) => ['user', 'add', 'new', '--file', `${folder}/htpasswd`],
    isDone: (files) => {
      const text = files.get('htpasswd') ?? '';
      return text.startsWith(users) && /^new:\$2y\$10\$.{53}\n$/.test(text.slice(users.length));
    },
  },
  {
    name: 'user remove',
    prepare: withUsers,
    args: (folder) => ['user', 'remove', 'user7', '--file', `${folder}/htpasswd`],
    isDone: (files) => files.get('htpasswd') === users.replace(/^user7:.*\n/m, ''),
  },
  {
    name: 'cert create',
    prepare: () => Promise.resolve(),
    args: (folder) => ['cert', 'create', '--host', 'localhost', '--out', folder],
    isDone: hasPair,
  },
  {
    name: 'cert create, to renew',
    prepare: withCertificate,
    args: (folder) => ['cert', 'create', '--host', 'localhost,another.example', '--out', folder],
    isDone: hasPair,
  },
];

/** All; in a quick run each by one of the two ways, since each takes the start of a program or two. */
const chooseAttempts = (form: Form, how: 'disk' | 'limit'): readonly Attempt[] =>
  form === 'quick' ? attempts.filter((_, i) => (i % 2 === 0) === (how === 'disk')) : attempts;

/** It must fail with a sentence, or finish its work. After a failure, the old files must be complete. */
async function tryWithoutRoom(
  { name, args, isDone }: Attempt,
  cramped: Cramped,
  how: string,
): Promise<boolean> {
  const read = async () => {
    const files = await readFolder(cramped.folder);
    files.delete('filler');
    return files;
  };
  const before = await read();
  const when = `${name} ${how}`;
  const input = 'a new password\n';
  const failed = await cramped.tidegate(args('.'), input);
  if (failed.code !== 0) {
    if (failed.code !== 1 || !/^\S.*\.\n$/.test(failed.stderr))
      throw new Error(`${when}: ended with ${failed.code} and said: ${failed.stderr}`);
    assertSame(before, await read(), when);
  } else if (!isDone(await read()))
    throw new Error(`${when}: ended well, and what it was to write is not whole`);
  await cramped.relax();
  const done = await cramped.tidegate(args('.'), input);
  const isThereAlready = failed.code === 0 && done.code === 1;
  if (done.code !== 0 && !isThereAlready) throw new Error(`${when}, and with room again: ${done.stderr}`);
  if (!isDone(await read())) throw new Error(`${when}, and with room again: it is not whole`);
  return failed.code !== 0;
}

/** How many pages are left: at each number another write of a command fails. */
const pagesLeft: Readonly<Record<Form, readonly number[]>> = {
  quick: [1],
  ci: [0, 1, 2, 3, 4, 5],
  long: [0, 1, 2, 3, 4, 5, 6, 7, 8],
};
/** The same by a limit on the size of files, in blocks of 512 bytes. */
const blocksAllowed: Readonly<Record<Form, readonly number[]>> = {
  quick: [1],
  ci: [0, 1, 2, 3, 4, 8],
  long: [0, 1, 2, 3, 4, 5, 6, 8, 12],
};

export function createDiskFaults({ form, frontDoor, bystander, logDisk }: DiskFaultsPlace): Trial[] {
  const onFullDisk: Trial = {
    name: 'a disk that is full while the htpasswd file or a certificate is written: a sentence, and the old files whole',
    run: async () => {
      let failures = 0;
      for (const attempt of chooseAttempts(form, 'disk')) {
        const failuresBefore = failures;
        for (const left of pagesLeft[form]) {
          const disk = await makeSmallDisk('128k');
          try {
            await attempt.prepare(disk.outside);
            await disk.fill(left);
            const cramped: Cramped = {
              folder: disk.outside,
              tidegate: ([...words], input) =>
                disk.tidegate(
                  words.map((word) => word.replace(/^\.(?=\/|$)/, disk.path)),
                  input,
                ),
              relax: () => disk.empty(),
            };
            if (await tryWithoutRoom(attempt, cramped, `with ${left} pages left`)) failures += 1;
          } finally {
            await disk.remove();
          }
        }
        if (failures === failuresBefore) throw new Error(`${attempt.name} never failed: nothing was tried`);
      }
      return failures;
    },
  };
  const overLimit: Trial = {
    name: 'a limit on the size of files while the htpasswd file or a certificate is written: likewise',
    run: async () => {
      let failures = 0;
      for (const attempt of chooseAttempts(form, 'limit')) {
        const failuresBefore = failures;
        for (const blocks of blocksAllowed[form]) {
          const folder = await mkdtemp(path.join(tmpdir(), 'tidegate-limit-'));
          let limit = [`ulimit -f ${blocks} && exec "$@"`];
          try {
            await mkdir(folder, { recursive: true });
            await attempt.prepare(folder);
            const cramped: Cramped = {
              folder,
              tidegate: (words, input = '') => {
                const [script = 'exec "$@"'] = limit;
                return run('sh', ['-c', script, 'sh', process.execPath, mainPath, ...words], {
                  input,
                  cwd: folder,
                });
              },
              relax: () => {
                limit = [];
                return Promise.resolve();
              },
            };
            if (await tryWithoutRoom(attempt, cramped, `with files of at most ${blocks} blocks`))
              failures += 1;
          } finally {
            await rm(folder, { recursive: true });
          }
        }
        if (failures === failuresBefore) throw new Error(`${attempt.name} never failed: nothing was tried`);
      }
      return failures;
    },
  };
  const logs = (disk: SmallDisk): Trial => ({
    name: 'a disk that is full while the log is written: nobody waits, the log says so, and its lines go on when there is room',
    run: async () => {
      await disk.fill(0);
      const isWaiting = ({ msg }: { msg: string }) => msg === 'a log file cannot be written: its lines wait';
      await until('the log says so', () => frontDoor.log.some(isWaiting));
      const looks = 20;
      for (let i = 0; i < looks; i += 1) await bystander.settled();
      const size = async () => (await readFile(path.join(disk.outside, 'access.log'))).length;
      await disk.empty();
      const before = await size();
      await until('the log goes on', async () => (await size()) > before);
      const text = await readFile(path.join(disk.outside, 'access.log'), 'utf8');
      const torn = text.split('\n').filter((line) => line !== '' && !line.endsWith('}'));
      if (torn.length > 2) throw new Error(`${torn.length} lines are torn: ${torn[0]}`);
      if (frontDoor.log.filter(isWaiting).length > 2) throw new Error('the log says it again and again');
      return looks;
    },
  });
  const leftOut: Trial = {
    name: 'left out: a disk that is full while the htpasswd file, a certificate or the log is written; nothing can be mounted here',
    run: () => Promise.resolve(0),
  };
  return [overLimit, ...(canMount ? [onFullDisk] : [leftOut]), ...(logDisk ? [logs(logDisk)] : [])];
}
