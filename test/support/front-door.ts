import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { copyCertificate } from './certificate-files.ts';
import { mainPath, stop } from './processes.ts';
import { until } from './redis.ts';

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/** The real program, serving on a free port with a certificate from `cert create` and one user. */
export type FrontDoor = {
  readonly port: number;
  readonly pid: number;
  readonly process: ChildProcess;
  /** PEM of the CA to trust. */
  readonly ca: string;
  readonly caPath: string;
  /** Its working directory, with certs/ and htpasswd in it. */
  readonly dir: string;
  readonly htpasswdPath: string;
  readonly log: readonly LogLine[];
  /** Waits for a log line; earlier lines count. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>;
  /** Its exit code, null after a signal, when it has ended and its log is whole. */
  readonly ended: Promise<number | null>;
  /** Ends it, unless it has ended, and removes its files. */
  stop(): Promise<void>;
};

export const user = 'alice';
export const password = 'open: sesame';
export const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
/** bcrypt of {@link password} at cost 4, so that tests do not wait for hashes. */
export const htpasswdLine = `${user}:$2y$04$fAI9d5LDiBRtQ4.MSHmNPuqA60M2vG0rZolOtwQq48yq0X6jrqPdm\n`;

export type FrontDoorOptions = {
  /** Null: the configuration file sets it. */
  readonly upstreamUrl: string | null;
  readonly set?: readonly string[];
  readonly htpasswd?: string;
  /** The text of its configuration file, `tidegate.yml` in its working directory. `set` overrides it. Default: no file. */
  readonly config?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The port in `set`, if `set` also suppresses the log line that names the port. */
  readonly port?: number;
  /** The path of log.errorFile in `set`, if set: lines that are not on standard output are read from there. */
  readonly errorFile?: string;
  /** DNS names for the certificate; the default is localhost. Null: it names no certificate in its settings. */
  readonly hosts?: readonly string[] | null;
  /** A command prefix to start it with, for example to enter a network namespace. */
  readonly within?: readonly string[];
};

/** Folders to remove at exit: a failed start, or a test that ends the process itself, does not call stop. */
const dirs = new Set<string>();
process.on('exit', () => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

export async function startFrontDoor(options: FrontDoorOptions): Promise<FrontDoor> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
  dirs.add(dir);
  const certs = path.join(dir, 'certs');
  const htpasswdPath = path.join(dir, 'htpasswd');
  await copyCertificate(certs, options.hosts ?? ['localhost']);
  const certificate =
    options.hosts === null ? [] : [`tls.cert=${certs}/server.crt`, `tls.key=${certs}/server.key`];
  await writeFile(htpasswdPath, options.htpasswd ?? htpasswdLine);
  const settings = [
    'listen.host=127.0.0.1',
    'listen.port=0',
    'workers=1',
    'admin.port=', // several run at a time, and upstream's script knows of no probes
    ...certificate,
    `auth.htpasswd=${htpasswdPath}`,
    ...(options.upstreamUrl === null ? [] : [`upstream.url=${options.upstreamUrl}`]),
    ...(options.set ?? []),
  ];
  const configPath = path.join(dir, 'tidegate.yml');
  if (options.config !== undefined) await writeFile(configPath, options.config);
  const named = options.config === undefined ? [] : ['--config', configPath];
  const command = [
    process.execPath,
    mainPath,
    'serve',
    ...named,
    ...settings.flatMap((setting) => ['--set', setting]),
  ];
  const [file = '', ...args] = [...(options.within ?? []), ...command];
  const child = spawn(file, args, {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  const log: LogLine[] = [];
  const waiting = new Set<{ matches: (line: LogLine) => boolean; resolve: (line: LogLine) => void }>();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  createInterface({ input: child.stdout }).on('line', (text) => {
    if (child.signalCode === 'SIGKILL' && !text.endsWith('}')) return; // killed in the middle of it
    const line = JSON.parse(text) as LogLine;
    log.push(line);
    for (const waiter of waiting) {
      if (!waiter.matches(line)) continue;
      waiting.delete(waiter);
      waiter.resolve(line);
    }
  });
  const logged: FrontDoor['logged'] = (matches) =>
    new Promise((resolve) => {
      const earlier = log.find(matches);
      if (earlier) resolve(earlier);
      else waiting.add({ matches, resolve });
    });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const died = once(child, 'exit').then(() => {
    throw new Error(`serve ended before it was ready: ${stderr}`);
  });
  const isListening = (line: LogLine) => line.msg === 'listening';
  const { errorFile } = options;
  const ready =
    options.port !== undefined
      ? untilAccepting(options.port)
      : errorFile === undefined
        ? logged(isListening)
        : findInFile(errorFile, isListening);
  const listening = await Promise.race([ready, died]);
  died.catch(() => {}); // from here on its end is the test's own doing
  if (child.pid === undefined) throw new Error('serve has no pid');
  return {
    port: listening['port'] as number,
    pid: child.pid,
    process: child,
    ca: await readFile(path.join(certs, 'ca.crt'), 'utf8'),
    caPath: path.join(certs, 'ca.crt'),
    dir,
    htpasswdPath,
    log,
    logged,
    ended,
    stop: async () => {
      await stop(child, 'SIGINT');
      await ended;
      await rm(dir, { recursive: true, force: true });
      dirs.delete(dir);
    },
  };
}

async function untilAccepting(port: number): Promise<LogLine> {
  const accepts = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
  await until(`something listens on port ${port}`, accepts);
  return { msg: 'listening', port };
}

/** Returns the complete lines of a file; none without the file. */
export async function readLogFile(file: string): Promise<LogLine[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogLine);
}

/** Waits for a line in a file. */
export async function findInFile(file: string, matches: (line: LogLine) => boolean): Promise<LogLine> {
  let found: LogLine | undefined;
  await until(
    `a line in ${file}`,
    async () => (found = (await readLogFile(file)).find(matches)) !== undefined,
  );
  return found ?? { msg: '' };
}
