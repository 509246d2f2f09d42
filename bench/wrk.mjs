import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { root } from '../src/quickstart/prepare.mjs';
import { run } from '../src/quickstart/step.mjs';

const script = path.join(root, 'bench/load.lua');

/** The Accept header of containerd 1.7 for a manifest. */
export const clientHeaders = {
  Accept:
    'application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, ' +
    'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*',
  'User-Agent': 'containerd/1.7.24',
};

/**
 * Requests one path, or the paths of `mode` (load.lua), over keep-alive connections for some seconds.
 * @param {{ port: number }} subject
 * @param {{ target: string, connections: number, seconds: number, authorization?: string, mode?: string[] }} options
 * @returns {Promise<WrkResult>}
 *
 * @typedef {{ requests: number, microseconds: number, bytes: number, failed: number, refused: number, p50Us: number, p99Us: number }} WrkResult
 *   refused: answers with a status of 400 or more; p50Us, p99Us: microseconds in which half of the answers, and all but a
 *   hundredth, came
 */
export async function runWrk(subject, options) {
  return resultOf(await run('wrk', wrkArgs(subject, options)));
}

/** The same, until it is stopped. */
export function startWrk(subject, options) {
  const child = spawn('wrk', wrkArgs(subject, { ...options, seconds: 3600 }), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill); // however the benchmark ends
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  const closed = once(child, 'close');
  return {
    stop: async () => {
      child.kill('SIGINT'); // it then prints its results
      await closed;
      process.off('exit', kill);
      return resultOf(printed);
    },
  };
}

function wrkArgs({ port }, { target, connections, seconds, authorization, mode = [] }) {
  const headers = Object.entries({
    ...clientHeaders,
    ...(authorization === undefined ? {} : { Authorization: authorization }),
  });
  return [
    ...['--threads', '2', '--connections', String(connections), '--duration', `${seconds}s`],
    ...['--timeout', '60s', '--script', script],
    ...headers.flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
    `https://localhost:${port}${target}`,
    ...(mode.length === 0 ? [] : ['--', ...mode]),
  ];
}

function resultOf(printed) {
  return JSON.parse(printed.trim().split('\n').at(-1));
}
