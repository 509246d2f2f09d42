import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { findProgram } from '../../src/quickstart/debian-packages.mjs';
import { root } from '../../src/quickstart/prepare.mjs';
import { run } from '../../src/quickstart/step.mjs';

const folder = path.join(root, 'test/bench');
const hashName = 'bcrypt cost 10';

/** How long a server may take until it listens, in milliseconds. */
const startTimeoutMs = 20_000;

/**
 * Starts everything that is measured, each on a free port of loopback before one docker-registry; all of them write one line
 * a request to a file.
 * @param {string} dir a temporary folder
 * @returns {Promise<{ registryUrl: string, authorization: string, ca: string, subjects: Subject[], stop: () => Promise<void> }>}
 *
 * @typedef {{ name: string, passwords: string, port: number, isSlow: boolean, takeHits: () => number | null,
 *   restart: () => Promise<void> }} Subject
 *   isSlow: it has a handful of answers a second, and goes on with what it has been asked when nobody waits any more;
 *   takeHits: empties its log, and gives which part of the answers was from its cache, or null for no cache.
 */
export async function startServers(dir) {
  const children = [];
  const stop = async () => {
    // Front doors first: what they stand before may not vanish under them.
    for (const child of children.reverse()) await end(child);
  };
  try {
    return { ...(await start(dir, children)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(dir, children) {
  const user = 'bench';
  const password = randomBytes(12).toString('hex');
  const certs = path.join(dir, 'certs');
  await run(
    process.execPath,
    ['dist/main.js', 'cert', 'create', '--host', 'localhost', '--ip', '127.0.0.1', '--out', certs],
    { cwd: root },
  );
  const bcryptLine = (await run('htpasswd', ['-nbBC', '10', user, password])).trim();
  const htpasswd = path.join(dir, 'htpasswd');
  fs.writeFileSync(htpasswd, `${bcryptLine}\n`);
  const plainHtpasswd = path.join(dir, 'htpasswd-plain');
  fs.writeFileSync(plainHtpasswd, `${user}:{PLAIN}${password}\n`);

  const names = ['registry', 'redis', 'nginx', 'nginxBcrypt', 'caddy', 'memory', 'redisCache', 'off'];
  const found = await freePorts(names.length);
  const ports = Object.fromEntries(names.map((name, i) => [name, found[i]]));
  const files = { CERT: path.join(certs, 'server.crt'), KEY: path.join(certs, 'server.key') };

  const launch = async (name, port, command, env = {}) => {
    const log = path.join(dir, `${name}.log`);
    const output = fs.openSync(log, 'a');
    const [program, ...args] = command(log);
    const begin = async () => {
      const child = spawn(findProgram(program) ?? program, args, {
        stdio: ['ignore', output, output],
        env: { ...process.env, ...env },
      });
      children.push(child);
      await listening(child, port, name, log);
      return child;
    };
    let child = await begin();
    const restart = async () => {
      await end(child);
      child = await begin();
    };
    return { port, takeHits: () => takeHits(log), restart };
  };
  const fill = (template, name, values) => {
    const file = path.join(dir, name);
    const text = fs.readFileSync(path.join(folder, template), 'utf8');
    fs.writeFileSync(
      file,
      text.replace(/\$\{(\w+)\}/g, (_, key) => values[key]),
    );
    return file;
  };
  const launchNginx = (name, port, passwords) =>
    launch(name, port, (log) => {
      const nginxDir = path.join(dir, name);
      fs.mkdirSync(nginxDir);
      const values = { ...files, DIR: nginxDir, LOG: log, PORT: port, UPSTREAM_PORT: ports.registry };
      const settings = { ...values, HTPASSWD: passwords, USER: os.userInfo().username };
      return ['nginx', '-p', nginxDir, '-e', log, '-c', fill('nginx.conf', `${name}.conf`, settings)];
    });
  const registryUrl = `http://127.0.0.1:${ports.registry}`;
  const launchTidegate = (flavor, port) =>
    launch(
      `tidegate-${flavor}`,
      port,
      () => [
        process.execPath,
        path.join(root, 'dist/main.js'),
        'serve',
        '--config',
        path.join(folder, 'tidegate.yml'),
        '--flavor',
        flavor,
      ],
      {
        BENCH_PORT: String(port),
        BENCH_CERT: files.CERT,
        BENCH_KEY: files.KEY,
        BENCH_UPSTREAM_URL: registryUrl,
        BENCH_HTPASSWD: htpasswd,
        BENCH_REDIS_URL: `redis://127.0.0.1:${ports.redis}/0`,
      },
    );

  await launch('registry', ports.registry, () => [
    'docker-registry',
    'serve',
    fill('registry.yml', 'registry.yml', { DIR: dir, PORT: ports.registry }),
  ]);
  await launch('redis', ports.redis, () => [
    'redis-server',
    path.join(root, 'deploy/redis.conf'),
    ...['--port', String(ports.redis), '--dir', dir],
  ]);
  const subject = (name, passwords, launched, isSlow = false) => ({ name, passwords, isSlow, ...launched });
  const subjects = [
    subject('nginx, proxy_cache', 'plain text', await launchNginx('nginx', ports.nginx, plainHtpasswd)),
    subject('Tidegate, memory', hashName, await launchTidegate('memory', ports.memory)),
    subject('Tidegate, Redis', hashName, await launchTidegate('redis', ports.redisCache)),
    subject('Tidegate, cache off', hashName, await launchTidegate('off', ports.off)),
    subject(
      'Caddy, no cache',
      hashName,
      await launch(
        'caddy',
        ports.caddy,
        () => ['caddy', 'run', '--adapter', 'caddyfile', '--config', path.join(folder, 'Caddyfile')],
        {
          HOME: dir, // Caddy keeps state there
          XDG_DATA_HOME: dir,
          XDG_CONFIG_HOME: dir,
          BENCH_PORT: String(ports.caddy),
          BENCH_CERT: files.CERT,
          BENCH_KEY: files.KEY,
          BENCH_USER: user,
          BENCH_HASH: Buffer.from(bcryptLine.slice(user.length + 1)).toString('base64'),
          BENCH_UPSTREAM_PORT: String(ports.registry),
        },
      ),
    ),
    subject(
      'nginx, proxy_cache',
      hashName,
      await launchNginx('nginx-bcrypt', ports.nginxBcrypt, htpasswd),
      true,
    ),
  ];
  return {
    registryUrl,
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    ca: fs.readFileSync(path.join(certs, 'ca.crt'), 'utf8'),
    subjects,
  };
}

/** Counts the field `cache` of log lines: HIT, MISS and the like. */
function takeHits(log) {
  const content = fs.readFileSync(log);
  fs.truncateSync(log);
  const field = '"cache":"';
  const counts = { answers: 0, hits: 0 };
  for (let at = content.indexOf(field); at !== -1; at = content.indexOf(field, at + field.length)) {
    const value = content.toString('latin1', at + field.length, at + field.length + 4);
    if (/^[A-Z]/.test(value)) counts.answers += 1;
    if (value === 'HIT"') counts.hits += 1;
  }
  return counts.answers === 0 ? null : counts.hits / counts.answers;
}

async function listening(child, port, name, log) {
  let failure;
  child.once('error', (error) => (failure = error.message));
  child.once('exit', (code, signal) => (failure = `ended (${code ?? signal})`));
  const untilMs = Date.now() + startTimeoutMs;
  while (!(await accepts(port))) {
    if (failure === undefined && Date.now() > untilMs) failure = `does not listen on port ${port}`;
    if (failure !== undefined) throw new Error(`${name} ${failure}:\n${fs.readFileSync(log, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function accepts(port) {
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

/** All at once, so that no two are the same. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

async function end(child) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const impatient = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(impatient);
}
