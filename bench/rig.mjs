import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { root } from '../src/quickstart/prepare.mjs';
import { run } from '../src/quickstart/step.mjs';
import { createBlob, pushImage } from './image.mjs';
import { createCredentials } from './credentials.mjs';
import { startEngine } from './docker-engine.mjs';
import { frontDoors } from './front-doors.mjs';
import { accepts, freePorts, startServer } from './processes.mjs';

const folder = path.join(root, 'bench');

/**
 * What the scenarios measure with: a certificate, users, one docker-registry, and proxies before it, each started
 * on first use, on a free port of loopback. All of them log one line per request to a file.
 * @param {string} dir a temporary folder
 * @returns {Promise<Rig>}
 *
 * @typedef {Awaited<ReturnType<typeof openRig>>} Rig
 * @typedef {{ key: string, name: string, passwords: string, hashesEachRequest: boolean, port: number, readonly pid: number,
 *   cipher: string, takeLog: () => { answered: number, hits: number | null }, restart: () => Promise<void>, stop: () => Promise<void> }} Subject
 *   cipher: what it and OpenSSL as a client agree upon; takeLog: empties its log, and gives how many lines in
 *   it have the status 200, and which part of the answers was from its cache, or null for no cache
 */
export async function openRig(dir) {
  const stops = [];
  const certs = path.join(dir, 'certs');
  await run(
    process.execPath,
    ['dist/main.js', 'cert', 'create', '--host', 'localhost', '--ip', '127.0.0.1', '--out', certs],
    { cwd: root },
  );
  const cert = path.join(certs, 'server.crt');
  const key = path.join(certs, 'server.key');
  const pem = path.join(dir, 'server.pem');
  fs.writeFileSync(pem, [cert, key].map((file) => fs.readFileSync(file, 'utf8')).join('\n'));
  const caFile = path.join(certs, 'ca.crt');
  const ca = fs.readFileSync(caFile, 'utf8');
  const storage = path.join(dir, 'registry');
  const credentials = await createCredentials(path.join(dir, 'users'), { count: 1, bcryptCost: 10 });

  const fillInto = (own) => (template, values) => {
    const file = path.join(own, template);
    const text = fs.readFileSync(path.join(folder, template), 'utf8');
    fs.writeFileSync(
      file,
      text.replace(/\$\{(\w+)\}/g, (_, name) => values[name]),
    );
    return file;
  };
  const ownFolder = (name) => {
    const own = path.join(dir, name);
    fs.mkdirSync(own);
    return own;
  };
  const launch = async ({ port, ...options }) => {
    const server = await startServer({ ...options, isReady: () => accepts(port) });
    stops.push(server.stop);
    return server;
  };

  const once = remember();
  const registry = () =>
    once('registry', async () => {
      const [port] = await freePorts(1);
      const own = ownFolder('upstream');
      const config = fillInto(own)('registry.yml', { STORAGE: storage, PORT: String(port) });
      const command = ['docker-registry', 'serve', config];
      const server = await launch({ name: 'docker-registry', port, command, log: path.join(own, 'log') });
      return { port, url: `http://127.0.0.1:${port}`, storage, pid: server.pid };
    });
  const redis = (of) =>
    once(`redis ${of}`, async () => {
      const [port] = await freePorts(1);
      const own = ownFolder(`redis-of-${of}`);
      const config = path.join(root, 'deploy/redis.conf');
      const command = ['redis-server', config, '--port', String(port), '--dir', own];
      const server = await launch({ name: 'redis-server', port, command, log: path.join(own, 'log') });
      return { url: `redis://127.0.0.1:${port}/0`, pid: server.pid };
    });
  const knows = (setting) =>
    once(`knows ${setting}`, () =>
      run(process.execPath, ['dist/main.js', 'config', 'show', '--set', setting], { cwd: root }).then(
        () => true,
        () => false,
      ),
    );

  const place = async (name, door, options = {}) => {
    const { credentials: users = credentials, set = {}, checkout = root } = options;
    const own = ownFolder(name);
    const [port] = await freePorts(1);
    const log = path.join(own, 'log');
    const registryPort = (await registry()).port;
    const redisUrl = door === 'tidegate-redis' ? (await redis(name)).url : undefined;
    const files = { cert, key, pem, storage, fill: fillInto(own) };
    const where = { port, dir: own, log, registryPort, redisUrl, credentials: users, set, checkout };
    return { ...where, ...frontDoors[door].launch({ ...files, ...where }) };
  };

  return {
    dir,
    ca,
    caFile,
    certs,
    credentials,
    registry,
    /** The Redis of the front door with that name. */
    redis,
    /** Starts a Docker engine; check first whether one can run. */
    engine: () =>
      once('engine', async () => {
        const engine = await startEngine(path.join(dir, 'engine'));
        stops.push(engine.stop);
        return engine;
      }),
    /** Starts the proxy with that key in front-doors.mjs, once for each name. */
    start: (door, { as = door, ...options } = {}) =>
      once(`front door ${as}`, async () => {
        const { name, passwords, hashesEachRequest = false } = frontDoors[door];
        const { port, command, env, log } = await place(as, door, options);
        const server = await launch({ name, port, command, env, log });
        const cipher = await negotiatedCipher(port, ca);
        return {
          ...{ key: as, name, passwords, hashesEachRequest, port, cipher },
          takeLog: () => takeLog(log),
          restart: server.restart,
          stop: server.stop,
          get pid() {
            return server.pid;
          },
        };
      }),
    /** Returns the command of a proxy, without starting it. */
    place,
    /** Whether this build of Tidegate has a setting: `config show` refuses unknown ones. */
    knows,
    /** A blob of random bytes in the registry, and a file with the same bytes. */
    blob: (bytes) =>
      once(`blob ${bytes}`, async () =>
        createBlob((await registry()).url, path.join(dir, `blob-${bytes}`), bytes),
      ),
    /** An image of which only the manifest is pulled. */
    image: () => once('image', async () => pushImage((await registry()).url)),
    stop: async () => {
      // Proxies first, while their registry still runs.
      for (const stop of stops.reverse()) await stop();
    },
  };
}

/** Creates each thing once, on first use. */
function remember() {
  const made = new Map();
  return (name, make) => {
    if (!made.has(name)) made.set(name, make());
    return made.get(name);
  };
}

async function negotiatedCipher(port, ca) {
  const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca });
  try {
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return `${socket.getProtocol()} ${socket.getCipher().standardName}`;
  } finally {
    socket.destroy();
  }
}

/** Counts the fields `status` and `cache` (HIT, MISS and the like) of log lines. */
function takeLog(log) {
  const content = fs.readFileSync(log);
  fs.truncateSync(log);
  const isHit = valuesOf(content, 'cache', 4)
    .filter((value) => /^"[A-Z]/.test(value))
    .map((value) => value === '"HIT');
  return {
    answered: valuesOf(content, 'status', 3).filter((value) => value === '200').length,
    hits: isHit.length === 0 ? null : isHit.filter((hit) => hit).length / isHit.length,
  };
}

/** The first bytes of every value that a field has in lines of JSON. */
function valuesOf(content, name, length) {
  const field = `"${name}":`;
  const values = [];
  for (let at = content.indexOf(field); at !== -1; at = content.indexOf(field, at + field.length)) {
    const start = at + field.length;
    values.push(content.toString('latin1', start, start + length));
  }
  return values;
}
