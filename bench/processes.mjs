import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { findProgram } from '../src/quickstart/debian-packages.mjs';
import { treeOf } from './process-tree.mjs';

/** How long a server may take until it listens, in milliseconds. */
const startTimeoutMs = 20_000;
const endTimeoutMs = 10_000;

/**
 * Starts a server with its output appended to a file, and waits until it is ready.
 * @param {{ name: string, command: string[], log: string, env?: Record<string, string>, isReady: () => Promise<boolean> }} options
 * @returns {Promise<{ readonly pid: number, restart: () => Promise<void>, stop: () => Promise<void> }>}
 */
export async function startServer({ name, command, log, env = {}, isReady }) {
  const [program, ...args] = command;
  const begin = async () => {
    const output = fs.openSync(log, 'a');
    const child = spawn(findProgram(program) ?? program, args, {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    fs.closeSync(output);
    try {
      await ready(child, isReady, name, log);
    } catch (error) {
      await endProcess(child);
      throw error;
    }
    return child;
  };
  let child = await begin();
  return {
    get pid() {
      return child.pid;
    },
    restart: async () => {
      await endProcess(child);
      // Its children may hold the port for a moment longer.
      while (await isReady()) await pause();
      child = await begin();
    },
    stop: () => endProcess(child),
  };
}

async function ready(child, isReady, name, log) {
  let failure;
  child.once('error', (error) => (failure = error.message));
  child.once('exit', (code, signal) => (failure = `ended (${code ?? signal})`));
  const untilMs = Date.now() + startTimeoutMs;
  while (!(await isReady())) {
    if (failure === undefined && Date.now() > untilMs) failure = 'is not ready in time';
    if (failure !== undefined) throw new Error(`${name} ${failure}:\n${fs.readFileSync(log, 'utf8')}`);
    await pause();
  }
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

/** Whether something listens on a port of loopback. */
export function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    const settle = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

/**
 * Finds free ports of loopback, all at once, so that no two are equal.
 * @param {number} count
 */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Ends a child process and its descendants: with SIGTERM, then SIGKILL. */
export async function endProcess(child) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const impatient = setTimeout(() => {
    console.error(`\n${child.spawnargs[0]} did not end in ${endTimeoutMs / 1000} s, and was killed`);
    for (const { pid } of treeOf(child.pid)) process.kill(pid, 'SIGKILL');
  }, endTimeoutMs);
  await gone;
  clearTimeout(impatient);
}
