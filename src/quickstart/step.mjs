import { spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';

/** How many lines of a failed program's output are shown, from its beginning and its end. */
const shownLines = 12;

/** A failure that the reader can fix: printed as its message alone. */
export class PreparationError extends Error {}

/** Ctrl-C or a termination signal came during the preparation; what was set up around a program is restored. */
export class Interruption extends PreparationError {}

/**
 * Runs one step of the preparation and shows it as one line with its duration. `work` gets `say`, which prints a
 * line of progress below the title; of what it returns, `outcome` ends the line ("up to date").
 * @template {{ outcome: string }} T
 * @param {string} title
 * @param {(say: (text: string) => void) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const startedAtMs = Date.now();
  process.stdout.write(`${title} … `);
  let onTitleLine = true;
  const write = (text) => process.stdout.write(onTitleLine ? text : `  ${text}`);
  const say = (text) => {
    process.stdout.write(`${onTitleLine ? '\n' : ''}    ${text}\n`);
    onTitleLine = false;
  };
  try {
    const result = await work(say);
    write(`${result.outcome} (${((Date.now() - startedAtMs) / 1000).toFixed(1)} s)\n`);
    return result;
  } catch (error) {
    write(error instanceof Interruption ? 'interrupted\n' : 'failed\n');
    throw error;
  }
}

/**
 * Runs a program to its end and returns its standard output. Each line of output goes to `onLine`; one that fails throws
 * a PreparationError with the gist of what it said. Ctrl-C is passed on to the program and its end awaited before an
 * Interruption is thrown, so that a package installation is never torn apart.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, onLine?: (line: string) => void }} [options]
 * @returns {Promise<string>}
 */
export async function run(program, args, { cwd, env, onLine } = {}) {
  const child = spawn(program, args, { cwd, env: env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
    child.kill('SIGINT');
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, interrupt);
  let stdout = '';
  const said = [];
  const read = (stream, keep) => {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    stream.on('data', (chunk) => {
      const text = decoder.write(chunk);
      keep(text);
      const lines = (rest + text).split(/[\r\n]+/);
      rest = lines.pop();
      for (const line of lines.filter((each) => each.trim() !== '')) {
        said.push(line);
        // Some programs print the cause first (npm), others last (apt-get, tsc).
        if (said.length > 2 * shownLines) said.splice(shownLines, 1);
        onLine?.(line);
      }
    });
    stream.on('end', () => {
      if (rest.trim() !== '') said.push(rest);
    });
  };
  read(child.stdout, (text) => (stdout += text));
  read(child.stderr, () => undefined);
  try {
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (interrupted) throw new Interruption('Interrupted.');
    if (code === 0) return stdout;
  } catch (error) {
    if (error instanceof Interruption) throw error;
    throw new PreparationError(`${program} cannot be run: ${error.message}.`);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
  throw new PreparationError(`\`${program} ${args.join(' ')}\` failed:\n${said.join('\n')}`);
}
