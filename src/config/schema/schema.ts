import * as z from 'zod';
import { chooseThreads, chooseWorkers, maxWorkers } from './types/automatic.ts';
import {
  autoOrNumber,
  boolean,
  duration,
  filePath,
  integer,
  key,
  listenHost,
  networks,
  nullable,
  oneOf,
  text,
} from './types/key-type.ts';
import { acme } from './keys/acme-keys.ts';
import { cache } from './keys/cache-keys.ts';
import { clean } from './keys/clean-keys.ts';
import { console } from './keys/console-keys.ts';
import { cors } from './keys/cors-keys.ts';
import { limits } from './keys/limits-keys.ts';
import { loginThrottle } from './keys/login-throttle-keys.ts';
import { openPaths } from './types/open-path.ts';
import {
  findIssuerFaults,
  findNetworkFaults,
  findUnknownGroups,
  groups,
  immutableTags,
  policy,
} from './keys/policy-keys.ts';
import { oidc } from './keys/oidc-keys.ts';
import { findRouteFaults, routes } from './keys/route-keys.ts';
import { state } from './keys/state-keys.ts';
import { tokenKeys } from './keys/token-keys.ts';
import { upstream } from './keys/upstream-keys.ts';
import { userAgents } from './types/user-agents.ts';
import { admin, alerts } from './keys/watch-keys.ts';

const listen = z
  .strictObject({
    host: key(
      listenHost(),
      '::',
      'Address to listen on. "::" serves IPv6 and IPv4; without IPv6 on the machine, 0.0.0.0 is used.',
    ),
    port: key(integer(0, 65535), 443, 'Port to listen on. 0 takes any free one.'),
    httpPort: key(
      nullable(integer(0, 65535)),
      null,
      "Port for plain HTTP: answers GET and HEAD with a redirect to https, and the CA's check with tls.acme.challenge http-01, and nothing else. Usually 80; 0 takes any free one, null: none.",
    ),
    publicPort: key(
      nullable(integer(1, 65535)),
      null,
      'Port by which clients reach listen.port, where another one leads there (a port mapping, a load balancer). Redirects name it. null: listen.port.',
    ),
    trustedProxies: key(
      networks(),
      [],
      'Load balancers whose Forwarded and X-Forwarded-For, -Host, -Proto and -Port headers are believed. From all other clients these headers are dropped.',
    ),
    proxyProtocol: key(
      oneOf('off', 'on'),
      'off',
      'Whether every connection must begin with a PROXY protocol header, version 1 or 2, that names the client. With on, only listen.trustedProxies may connect.',
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
  minVersion: key(oneOf('TLSv1.2', 'TLSv1.3'), 'TLSv1.2', 'Oldest TLS version that clients may use.'),
  clientCa: key(
    nullable(filePath()),
    null,
    'PEM file with CA certificates. When set, a client must present a certificate signed by one of them.',
  ),
  acme,
});

const auth = z.strictObject({
  realm: key(
    // A quoted-string of RFC 9110 section 5.6.4 that needs no escaping.
    text(/^[ !#-[\]-~]{1,128}$/, '1 to 128 printable ASCII characters without quote and backslash'),
    'Registry',
    'Realm name that clients show when they ask for a password.',
  ),
  htpasswd: key(
    filePath(),
    'config/htpasswd',
    'File with user names and password hashes (htpasswd). Changes take effect without a restart.',
  ),
  machineTokens: key(
    filePath(),
    'config/tokens.yml',
    'File with the machine tokens that `tidegate token create NAME` makes. Changes take effect within a second. If there is no such file, there are no machine tokens.',
  ),
  open: key(
    openPaths(),
    ['/_ping', '/v1/_ping'],
    'Exact paths that need no credentials, for GET and HEAD only.',
  ),
  versionCheck: key(
    oneOf('auto', 'open', 'challenge'),
    'auto',
    'Answer to /v2/ without credentials. "open": 200 for all. "challenge": 401 for all. "auto": 200 for HEAD and for known health checks, browsers and curl; 401 for everyone else, because clients need it to log in.',
  ),
  openAgents: key(
    userAgents(),
    [],
    'More programs that get the 200 under versionCheck auto, such as your own health check. Each is a text that the User-Agent contains, case ignored.',
  ),
  challengeAgents: key(
    userAgents(),
    [],
    'Programs that always get the 401 under versionCheck auto. Each is a text that the User-Agent contains, case ignored. Overrules openAgents.',
  ),
  passwordThreads: key(
    autoOrNumber(64, chooseThreads),
    'auto',
    'Threads that check passwords, shared by all workers, with at least one each. "auto": one fewer than cores, at least one.',
  ),
  passwordQueue: key(
    integer(1, 65536),
    256,
    'Password checks that may wait for a thread, divided among the workers. Further requests get 503.',
  ),
  credentialTtl: key(
    duration('1s'),
    '10m',
    'How long a correct password is remembered. A change of the htpasswd file clears it at once.',
  ),
  credentialEntries: key(
    integer(1, 1_000_000),
    10_000,
    'How many correct passwords each worker remembers, and how many tokens.',
  ),
  maxBcryptCost: key(
    integer(4, 31),
    14,
    'Highest bcrypt cost that is checked. Lines with a higher cost never match.',
  ),
  ...tokenKeys,
  oidc,
  throttle: loginThrottle,
  maxShaCryptRounds: key(
    // The bounds of the SHA-crypt specification (Drepper, "Unix crypt using SHA-256 and SHA-512").
    integer(1000, 999_999_999),
    500_000,
    'Highest number of rounds of a SHA-256 or SHA-512 crypt hash that is checked. Lines with more never match.',
  ),
});

const shutdown = z.strictObject({
  timeout: key(duration('0'), '3600s', 'How long transfers may continue after SIGTERM. 0 cuts them at once.'),
});

const log = z.strictObject({
  level: key(
    oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    'info',
    'Lowest level that is logged.',
  ),
  format: key(
    oneOf('json', 'pretty', 'ecs'),
    'json',
    'Format of the log: JSON lines, coloured text for people, or JSON lines with Elastic Common Schema names. The default is "pretty" if standard output is a terminal. Files get JSON lines instead of "pretty" ones.',
  ),
  accessFile: key(
    nullable(filePath()),
    null,
    'File for the access log; null: standard output. Reopened on SIGUSR1, as all log files.',
  ),
  errorFile: key(
    nullable(filePath()),
    null,
    'File for everything but access and audit lines; null: standard output.',
  ),
  audit: key(
    boolean(),
    true,
    "Whether each push and delete gets an audit line, at any log.level. The registry is asked for a tag's old digest first.",
  ),
  auditFile: key(nullable(filePath()), null, 'File for audit lines; null: where the access log goes.'),
});

const workers = key(
  autoOrNumber(maxWorkers, () => chooseWorkers()),
  'auto',
  'Processes that serve clients; "auto": one per core, and a single one on one or two cores. With more than one, a primary process starts them and replaces one that dies.',
);

/** Every key of the configuration; types, defaults, JSON Schema and reference are derived from it. */
export const configSchema = z
  .strictObject({
    listen,
    tls,
    upstream,
    routes,
    auth,
    cors,
    groups,
    policy,
    immutableTags,
    cache,
    clean,
    console,
    workers,
    limits,
    shutdown,
    admin,
    alerts,
    log,
    state,
  })
  .refine(({ listen, tls }) => tls.acme.challenge !== 'http-01' || listen.httpPort !== null, {
    path: ['tls', 'acme', 'challenge'],
    message: 'http-01 needs listen.httpPort, to which port 80 of the hosts leads',
  })
  .superRefine((config, context) => {
    const finders = [findUnknownGroups, findIssuerFaults, findNetworkFaults, findRouteFaults];
    const faults = finders.flatMap((find) => find(config));
    for (const { path, message } of faults) context.addIssue({ code: 'custom', path, message });
  });

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

/** The checked configuration: durations in milliseconds, sizes in bytes, paths absolute, `upstream.url` an origin. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;
