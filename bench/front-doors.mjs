import os from 'node:os';
import path from 'node:path';
import { root } from '../src/quickstart/prepare.mjs';

const folder = path.join(root, 'bench');

/**
 * All proxies that can be measured. `launch` gets a Place and returns the command to run there.
 * @type {Record<string, { name: string, passwords: 'hashed' | 'plain' | 'none', hashesEachRequest?: boolean,
 *   launch: (place: Place) => { command: string[], env?: Record<string, string> } }>}
 *   hashesEachRequest: a handful of answers a second, and it goes on with what it has been asked when nobody waits any more
 *
 * @typedef {{ port: number, dir: string, log: string, cert: string, key: string, pem: string, storage: string,
 *   registryPort: number, redisUrl: string | undefined, credentials: import('./credentials.mjs').Credentials,
 *   fill: (template: string, values: Record<string, string>) => string, set: Record<string, string>, checkout: string }} Place
 *   dir: its own; pem: certificate and key in one file; fill: a copy of a configuration with values in it; set: further
 *   settings of Tidegate; checkout: whose Tidegate
 */
export const frontDoors = {
  tidegate: { name: 'Tidegate', passwords: 'hashed', launch: (place) => tidegate(place, 'memory') },
  'tidegate-storage': {
    name: 'Tidegate with upstream.storage',
    passwords: 'hashed',
    launch: (place) =>
      tidegate({ ...place, set: { ...place.set, 'upstream.storage': place.storage } }, 'memory'),
  },
  'tidegate-redis': {
    name: 'Tidegate, cache in Redis',
    passwords: 'hashed',
    launch: (place) => tidegate(place, 'redis'),
  },
  'tidegate-off': {
    name: 'Tidegate, cache off',
    passwords: 'hashed',
    launch: (place) => tidegate(place, 'off'),
  },
  nginx: {
    name: 'nginx',
    passwords: 'hashed',
    hashesEachRequest: true,
    launch: (place) => nginx(place, { HTPASSWD: place.credentials.htpasswd }),
  },
  'nginx-plain': {
    name: 'nginx, plain-text passwords',
    passwords: 'plain',
    launch: (place) => nginx(place, { HTPASSWD: place.credentials.plainHtpasswd }),
  },
  'nginx-open': {
    name: 'nginx, no passwords, no cache',
    passwords: 'none',
    launch: (place) =>
      nginx(place, { HTPASSWD: place.credentials.plainHtpasswd, REALM: 'off', CACHE: 'off' }),
  },
  caddy: { name: 'Caddy', passwords: 'hashed', launch: caddy },
  haproxy: {
    name: 'HAProxy',
    passwords: 'hashed',
    hashesEachRequest: true,
    launch: (place) => haproxy(place, place.credentials.haproxyUsers),
  },
  'haproxy-plain': {
    name: 'HAProxy, plain-text passwords',
    passwords: 'plain',
    launch: (place) => haproxy(place, place.credentials.haproxyPlainUsers),
  },
  'registry-tls': {
    name: 'the registry itself, no proxy',
    passwords: 'hashed',
    hashesEachRequest: true,
    launch: (place) => ({
      command: [
        'docker-registry',
        'serve',
        place.fill('registry-tls.yml', {
          STORAGE: place.storage,
          HTPASSWD: place.credentials.htpasswd,
          PORT: String(place.port),
          CERT: place.cert,
          KEY: place.key,
        }),
      ],
    }),
  },
};

function tidegate(place, flavor) {
  return {
    command: [
      process.execPath,
      path.join(place.checkout, 'dist/main.js'),
      'serve',
      ...['--config', path.join(place.checkout, 'bench/tidegate.yml'), '--flavor', flavor],
      ...Object.entries(place.set).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ],
    env: {
      BENCH_PORT: String(place.port),
      BENCH_CERT: place.cert,
      BENCH_KEY: place.key,
      BENCH_UPSTREAM_URL: `http://127.0.0.1:${place.registryPort}`,
      BENCH_HTPASSWD: place.credentials.htpasswd,
      ...(place.redisUrl === undefined ? {} : { BENCH_REDIS_URL: place.redisUrl }),
    },
  };
}

function nginx(place, values) {
  const conf = place.fill('nginx.conf', {
    REALM: '"Registry"',
    CACHE: 'manifests',
    CERT: place.cert,
    KEY: place.key,
    DIR: place.dir,
    LOG: place.log,
    PORT: String(place.port),
    UPSTREAM_PORT: String(place.registryPort),
    USER: os.userInfo().username,
    ...values,
  });
  return { command: ['nginx', '-p', place.dir, '-e', place.log, '-c', conf] };
}

function caddy(place) {
  return {
    command: ['caddy', 'run', '--adapter', 'caddyfile', '--config', path.join(folder, 'Caddyfile')],
    env: {
      HOME: place.dir, // it keeps state there
      XDG_DATA_HOME: place.dir,
      XDG_CONFIG_HOME: place.dir,
      BENCH_PORT: String(place.port),
      BENCH_CERT: place.cert,
      BENCH_KEY: place.key,
      BENCH_USERS: place.credentials.caddyUsers,
      BENCH_UPSTREAM_PORT: String(place.registryPort),
    },
  };
}

function haproxy(place, users) {
  return {
    command: ['haproxy', '-db', '-f', users, '-f', path.join(folder, 'haproxy.cfg')],
    env: {
      BENCH_PORT: String(place.port),
      BENCH_PEM: place.pem,
      BENCH_UPSTREAM_PORT: String(place.registryPort),
    },
  };
}
