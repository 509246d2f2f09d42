import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, run } from './processes.ts';

// Linux only: the tests look for leftovers in /proc, and Linux ends the registry with its starter.
const hasRegistry = (process.env['PATH'] ?? '')
  .split(path.delimiter)
  .some((folder) => ['docker-registry', 'registry'].some((name) => existsSync(path.join(folder, name))));
const needs =
  process.platform !== 'linux' ? 'needs Linux' : 'needs docker-registry (apt-get install docker-registry)';
/** A running `npm start`. */
export const skip =
  (process.platform === 'linux' && hasRegistry) || process.env['CI'] === 'true' ? false : needs;

export type Started = {
  /** The `docker login` line, once it is printed. */
  readonly ready: Promise<string>;
  readonly exitCode: Promise<number | null>;
  readonly output: () => string;
  /** Types on its terminal, if it has one. */
  readonly type: (text: string) => void;
  /** Ctrl-C on a terminal: the signal goes to all processes of the group. */
  readonly interrupt: () => Promise<number | null>;
  /** Ends what is left of it, even after a failure. */
  readonly end: () => Promise<void>;
};

/** Starts it as a new user does, with npm. */
export function start(checkout: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Started {
  return launch('npm', ['start', '--', ...args], checkout, env);
}

export function launch(file: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Started {
  const child = spawn(file, args, {
    cwd,
    // The test must not use what this machine runs on port 5000.
    env: { ...process.env, TIDEGATE_UPSTREAM_URL: 'http://127.0.0.1:1', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  const ready = new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      const line = /^docker login .*(?=\r?\n)/m.exec(output)?.[0];
      if (line !== undefined) resolve(line);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void exitCode.then((code) =>
      reject(new Error(`npm start has ended with ${code ?? 'a signal'}:\n${output}`)),
    );
  });
  ready.catch(() => undefined); // not every test waits for it
  return {
    ready,
    exitCode,
    output: () => output,
    type: (text) => child.stdin.write(text),
    interrupt: () => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
      return exitCode;
    },
    end: async () => {
      const isRunning = child.exitCode === null && child.signalCode === null;
      if (isRunning && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      await exitCode;
    },
  };
}

/** Copies the working tree as git sees it, with dependencies and build, into a temporary repository. */
export async function copyCheckout(): Promise<string> {
  const copy = await realpath(await mkdtemp(path.join(tmpdir(), 'tidegate-quickstart-')));
  const listed = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  const files = listed.stdout.split('\0').filter((file) => file !== '' && existsSync(path.join(root, file)));
  for (const file of files) cpSync(path.join(root, file), path.join(copy, file));
  const made = ['node_modules', 'dist'].map((folder) => path.join(root, folder));
  assert.equal((await run('cp', ['-a', ...made, copy])).code, 0);
  const git = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  for (const args of [
    ['init', '-q'],
    ['add', '-A'],
    [...git, 'commit', '-q', '-m', 'All'],
  ]) {
    assert.equal((await run('git', args, { cwd: copy })).code, 0);
  }
  return copy;
}

/** All processes that work in a checkout or are named after one of its files. */
export function processesOf(checkout: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const isOurs = command.includes(checkout) || readlinkSync(`/proc/${name}/cwd`) === checkout;
        return isOurs && command !== '' ? [{ pid: Number(name), command }] : [];
      } catch {
        return []; // it has ended, or is another user's
      }
    });
}

/** Asks as `host`, wherever that name leads, and verifies the certificate against the CA that was made. */
export async function curl(
  checkout: string,
  port: number,
  url: string,
  args: readonly string[],
): Promise<string> {
  const connect = ['--connect-to', `::127.0.0.1:${port}`, '--cacert', path.join(checkout, 'certs/ca.crt')];
  const { code, stdout, stderr } = await run('curl', ['-sS', '--max-time', '20', ...connect, ...args, url]);
  assert.equal(code, 0, stderr);
  return stdout;
}

export async function statusOf(
  checkout: string,
  port: number,
  host: string,
  target: string,
  credentials?: string,
): Promise<number> {
  const user = credentials === undefined ? [] : ['-u', credentials];
  const args = ['-o', '/dev/null', '-w', '%{http_code}', ...user];
  return Number(await curl(checkout, port, `https://${host}:${port}${target}`, args));
}
