import * as z from 'zod';
import { chooseThreads, chooseWorkers, maxWorkers } from './automatic.ts';
import {
  autoOrNumber,
  boolean,
  duration,
  filePath,
  folderPath,
  integer,
  key,
  listenHost,
  networks,
  nullable,
  oneOf,
  text,
} from './key-type.ts';
import { cache } from './cache-keys.ts';
import { cors } from './cors-keys.ts';
import { limits } from './limits-keys.ts';
import { loginThrottle } from './login-throttle-keys.ts';
import { openPaths } from './open-path.ts';
import { findUnknownGroups, groups, immutableTags, policy } from './policy-keys.ts';
import { tokenKeys } from './token-keys.ts';
import { upstreamUrl } from './upstream-url.ts';
import { userAgents } from './user-agents.ts';
import { admin, alerts } from './watch-keys.ts';

const listen = z
  .strictObject({
    host: key(
      listenHost(),
      '::',
      'Address to listen on. "::" serves IPv6 and IPv4; where there is no IPv6, 0.0.0.0 is taken instead.',
    ),
    port: key(integer(0, 65535), 443, 'Port to listen on. 0 takes any free one.'),
    trustedProxies: key(
      networks(),
      [],
      'Load balancers whose X-Forwarded-For, -Host, -Proto, -Port and Forwarded are believed. These are dropped when they come from anyone else.',
    ),
    proxyProtocol: key(
      oneOf('off', 'on'),
      'off',
      'Whether every connection must begin with a header of the PROXY protocol, version 1 or 2, that names the client. With on, only listen.trustedProxies may connect.',
    ),
  })
  .refine(({ proxyProtocol, trustedProxies }) => proxyProtocol !== 'on' || trustedProxies.length > 0, {
    path: ['proxyProtocol'],
    message: 'needs listen.trustedProxies: name the load balancers that may connect',
    when: () => true,
  });

const tls = z.strictObject({
  cert: key(
    filePath(),
    'certs/server.crt',
    "PEM file with the server's certificate first and its chain after it.",
  ),
  key: key(
    filePath(),
    'certs/server.key',
    "PEM file with the certificate's private key, not password-protected.",
  ),
  minVersion: key(oneOf('TLSv1.2', 'TLSv1.3'), 'TLSv1.2', 'Oldest TLS version that is spoken.'),
  clientCa: key(
    nullable(filePath()),
    null,
    'PEM file with CA certificates. When set, a client must show a certificate signed by one of them.',
  ),
});

const upstream = z
  .strictObject({
    url: key(
      upstreamUrl(),
      'http://127.0.0.1:5000',
      'The registry behind Tidegate. Scheme, host and port only.',
    ),
    ca: key(
      nullable(filePath()),
      null,
      'PEM file with the CA certificates that an https upstream is verified with, instead of the public ones.',
    ),
    username: key(
      // RFC 7617 section 2: the first colon ends the name.
      nullable(text(/^[^:\p{Cc}]+$/u, 'a name without colon and control characters')),
      null,
      'Name for an upstream that asks for a password of its own. Needs upstream.password.',
    ),
    password: key(
      { ...nullable(text(/^\P{Cc}+$/u, 'text without control characters')), isSecret: true },
      null,
      'Password that belongs to upstream.username. Best taken from the environment, never printed.',
    ),
    storage: key(
      nullable(folderPath()),
      null,
      "The registry's storage.filesystem.rootdirectory, where it is on this machine and may be read: blobs are sent from there, once the registry has said yes to each.",
    ),
    connectTimeout: key(duration('1ms'), '5s', 'How long a connection to the upstream may take.'),
    readTimeout: key(
      duration('1ms'),
      '900s',
      'How long the upstream may stay silent. A transfer that moves is never cut.',
    ),
    probeInterval: key(
      duration('100ms', '1h'),
      '5s',
      'How often the upstream is asked whether it answers (GET /v2/), for /readyz, metrics and alerts. Only with an admin listener or alerts.',
    ),
  })
  .refine(({ username, password }) => !(typeof username === 'string' && password === null), {
    path: ['username'],
    message: 'needs upstream.password: set both or neither',
    when: () => true,
  })
  .refine(({ username, password }) => !(typeof password === 'string' && username === null), {
    path: ['password'],
    message: 'needs upstream.username: set both or neither',
    when: () => true,
  });

const auth = z.strictObject({
  realm: key(
    // A quoted-string of RFC 9110 section 5.6.4 that needs no escaping.
    text(/^[ !#-[\]-~]{1,128}$/, '1 to 128 printable ASCII characters without quote and backslash'),
    'Registry',
    'Name that clients show when they ask for a password.',
  ),
  htpasswd: key(
    filePath(),
    'config/htpasswd',
    'File with names and password hashes. A change takes effect without restart.',
  ),
  open: key(
    openPaths(),
    ['/_ping', '/v1/_ping'],
    'Exact paths that need no credentials, for GET and HEAD only.',
  ),
  versionCheck: key(
    oneOf('auto', 'open', 'challenge'),
    'auto',
    'Answer to /v2/ without credentials: "open" 200 for all, "challenge" 401 for all, "auto" 200 for known health checks, browsers and curl, and for HEAD, and 401 for everyone else (clients need it to log in).',
  ),
  openAgents: key(
    userAgents(),
    [],
    'Further programs that get the 200 under versionCheck auto, such as a health check of your own: each is a text that the User-Agent contains, in upper or lower case.',
  ),
  challengeAgents: key(
    userAgents(),
    [],
    'Programs that get the 401 under versionCheck auto whatever else they are known as: each is a text that the User-Agent contains, in upper or lower case. Overrules openAgents.',
  ),
  passwordThreads: key(
    autoOrNumber(64, chooseThreads),
    'auto',
    'Threads that check passwords, in all: workers share them, and each has at least one. "auto" is one fewer than there are cores, at least one.',
  ),
  passwordQueue: key(
    integer(1, 65536),
    256,
    'Password checks that may wait for a thread, in all: each worker has an equal part. Further ones are answered with 503.',
  ),
  credentialTtl: key(
    duration('1s'),
    '10m',
    'How long a password that was right is remembered. It is forgotten at once when the htpasswd file changes.',
  ),
  credentialEntries: key(
    integer(1, 1_000_000),
    10_000,
    'How many passwords that were right are remembered, by each worker, and how many tokens.',
  ),
  maxBcryptCost: key(
    integer(4, 31),
    14,
    'Costliest bcrypt hash that is checked. Lines with a higher cost never match.',
  ),
  ...tokenKeys,
  throttle: loginThrottle,
  maxShaCryptRounds: key(
    // The bounds of the SHA-crypt specification (Drepper, "Unix crypt using SHA-256 and SHA-512").
    integer(1000, 999_999_999),
    500_000,
    'Most rounds of a SHA-256 or SHA-512 crypt hash that is checked. Lines with more never match.',
  ),
});

const shutdown = z.strictObject({
  timeout: key(
    duration('0'),
    '3600s',
    'How long transfers under way may take to end after SIGTERM. 0 cuts them at once.',
  ),
});

const log = z.strictObject({
  level: key(
    oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    'info',
    'Least important kind of line that is logged.',
  ),
  format: key(
    oneOf('json', 'pretty', 'ecs'),
    'json',
    'Form of the log: JSON lines, coloured text for people, or JSON lines with the names of the Elastic Common Schema. Where it is not set and standard output is a terminal, "pretty". Files hold JSON lines instead of "pretty" ones.',
  ),
  accessFile: key(
    nullable(filePath()),
    null,
    'File for the line of each request; null: standard output. Opened again on SIGUSR1, like the other files.',
  ),
  errorFile: key(
    nullable(filePath()),
    null,
    'File for everything that is neither the line of a request nor of the audit; null: standard output.',
  ),
  audit: key(
    boolean(),
    true,
    "Whether each push and each delete leaves a line of its own, at any log.level. The registry is asked for a tag's old digest first.",
  ),
  auditFile: key(
    nullable(filePath()),
    null,
    'File for the lines of pushes and deletes; null: where the lines of requests go.',
  ),
});

const workers = key(
  autoOrNumber(maxWorkers, chooseWorkers),
  'auto',
  'Processes that serve clients. With more than one there is another that starts them, and replaces one that dies. "auto" is as many as there are cores.',
);

/** Every key of the configuration; types, defaults, JSON Schema and reference are derived from it. */
export const configSchema = z
  .strictObject({
    listen,
    tls,
    upstream,
    auth,
    cors,
    groups,
    policy,
    immutableTags,
    cache,
    workers,
    limits,
    shutdown,
    admin,
    alerts,
    log,
  })
  .superRefine((config, context) => {
    for (const { path, message } of findUnknownGroups(config))
      context.addIssue({ code: 'custom', path, message });
  });

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

/** The checked configuration: durations in milliseconds, sizes in bytes, paths absolute, `upstream.url` an origin. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;
