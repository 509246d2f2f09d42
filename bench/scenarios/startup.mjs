import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import tls from 'node:tls';
import { endProcess } from '../processes.mjs';
import { atMost } from '../report.mjs';
import { digits, median, medianRatio, spread, takeTurns } from '../statistics.mjs';

/** The pause before the next attempt to connect, in milliseconds. */
const retryMs = 1;
const timeoutMs = 30_000;

/**
 * Measures the time from the start of the program to its first answer, with one worker, and that of Node alone.
 * @type {import('../run.mjs').Scenario}
 */
export async function measureStartup(rig, { quick, rounds }) {
  const set = (await rig.knows('workers=1')) ? { workers: '1' } : {};
  const place = await rig.place('startup', 'tidegate', { set });
  const subjects = [
    { key: 'node', name: 'node -e 0' },
    { key: 'tidegate', name: 'Tidegate, `serve`' },
  ];
  const starts = quick ? 5 : Math.max(rounds, 10);
  const results = await takeTurns(subjects, starts, ({ key }) =>
    key === 'node' ? startNode() : startTidegate(rig, place),
  );
  const ratio = medianRatio(results.get('tidegate'), results.get('node'));
  return {
    title: 'From the start to the first answer',
    tables: [
      {
        head: ['Program', 'ms', '× node -e 0'],
        rows: subjects.map(({ key, name }) => [
          name,
          spread(results.get(key)),
          digits(medianRatio(results.get(key), results.get('node'))),
        ]),
      },
    ],
    notes: [
      `Median of ${starts} starts, with one worker. The first answer is a 401 over TLS; a client tries to connect each ${retryMs} ms. Of node it is the whole run.`,
    ],
    targets: [atMost('start to first answer × node -e 0', ratio, 8)],
    raw: { ...Object.fromEntries(results), medianMs: median(results.get('tidegate')) },
  };
}

async function startNode() {
  const startedAtMs = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await once(child, 'exit');
  return performance.now() - startedAtMs;
}

async function startTidegate({ ca }, { port, command, env, log }) {
  const output = fs.openSync(log, 'a');
  const [program, ...args] = command;
  const startedAtMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', output, output], env: { ...process.env, ...env } });
  fs.closeSync(output);
  try {
    for (;;) {
      const answer = await ask(port, ca);
      if (answer.startsWith('HTTP/1.1 401 ')) return performance.now() - startedAtMs;
      if (child.exitCode !== null || performance.now() - startedAtMs > timeoutMs) {
        throw new Error(`Tidegate does not start (${answer}):\n${fs.readFileSync(log, 'utf8')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  } finally {
    await endProcess(child);
  }
}

/** Returns the beginning of the answer, or the error. */
function ask(port, ca) {
  return new Promise((resolve) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca });
    const settle = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (chunk) => settle(chunk.toString('latin1')));
    socket.once('error', (error) => settle(error.message));
    socket.once('end', () => settle('closed'));
    socket.write(`GET /v2/bench/app/tags/list HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  });
}
