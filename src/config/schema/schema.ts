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
  size,
  text,
} from './key-type.ts';
import { cors } from './cors-keys.ts';
import { loginThrottle } from './login-throttle-keys.ts';
import { openPaths } from './open-path.ts';
import { findUnknownGroups, groups, immutableTags, policy } from './policy-keys.ts';
import { redisUrl } from './redis-url.ts';
import { tokenKeys } from './token-keys.ts';
import { upstreamUrl } from './upstream-url.ts';
import { fieldNames } from './field-names.ts';
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

const redis = z.strictObject({
  url: key(
    redisUrl(),
    'redis://127.0.0.1:6379/0',
    'The Redis that driver redis uses: one server, the sentinels of a group, or nodes of a cluster. Instances that share a registry name it by the same upstream.url and share one Redis.',
  ),
  keyPrefix: key(
    text(/^[\x21-\x7a]{1,100}$/, '1 to 100 printable ASCII characters without space and braces'),
    'tidegate:',
    'Beginning of the name of every key. Other keys of a shared Redis are never touched.',
  ),
  username: key(
    nullable(text(/^\P{Cc}+$/u, 'text without control characters')),
    null,
    'Name of a Redis ACL user.',
  ),
  password: key(
    { ...nullable(text(/^\P{Cc}+$/u, 'text without control characters')), isSecret: true },
    null,
    'Password of Redis. Best taken from the environment, never printed.',
  ),
  ca: key(
    nullable(filePath()),
    null,
    'PEM file with the CA certificates that a Redis over TLS is verified with, instead of the public ones.',
  ),
  instanceTimeout: key(
    duration('5s', '10m'),
    '30s',
    'After how long an instance that shares this Redis and is not heard of any more is taken for gone. Until then deletes wait for it, and are answered with 503 after limits.deleteWait.',
  ),
  timeout: key(
    duration('1ms', '10s'),
    '100ms',
    'How long a request waits for Redis. A later answer counts as none, and Redis is left alone until it has recovered.',
  ),
});

const cache = z.strictObject({
  driver: key(
    oneOf('memory', 'redis', 'off'),
    'memory',
    'Where manifests are cached: in memory, in a Redis that several instances share, or nowhere.',
  ),
  redis,
  maxBytes: key(
    size('64KiB', '1024GiB'),
    '64MiB',
    'How much the cache may hold, in all: with driver memory each worker has an equal part, which should not be less than maxEntryBytes. Beyond it, what was not used for longest goes.',
  ),
  maxEntryBytes: key(
    size('1KiB', '16MiB'),
    '4MiB',
    'Largest manifest that is cached. A larger one is passed through.',
  ),
  tagTtl: key(
    duration('1ms', '1d'),
    '10s',
    'How long an answer may be given without asking upstream: what is pushed or deleted around Tidegate is seen within it.',
  ),
  headers: key(
    fieldNames(),
    [],
    'Header fields of your registry that an answer may be cached with, besides those that registries are known to send. An answer with any other is passed on and not cached; the log names the field.',
  ),
});

const limits = z.strictObject({
  headerBytes: key(size('1KiB', '1MiB'), '32KiB', 'Largest request head. A larger one is answered with 431.'),
  headerTimeout: key(duration('1ms'), '30s', 'How long a client may take to send the head of a request.'),
  handshakeTimeout: key(
    duration('1ms'),
    '10s',
    'How long a client may take for the TLS handshake, and a load balancer for the header of the PROXY protocol.',
  ),
  keepAliveTimeout: key(duration('1ms'), '75s', 'How long an idle connection waits for its next request.'),
  idleTimeout: key(
    duration('1ms'),
    '900s',
    'How long a client may neither send nor read during a request. A transfer that moves is never cut.',
  ),
  connections: key(
    integer(1, 1_000_000),
    10_000,
    'Client connections at one time, in all: each worker has an equal part, rounded up, and since they are not dealt out evenly, one may reach its part before the others. Then the oldest on which nobody has shown a right password is closed for each new one, and if there is none, the new one.',
  ),
  connectionsPerAddress: key(
    integer(1, 1_000_000),
    2500,
    'The same for one client address, or one IPv6 /64 network; each worker counts for itself. Does not count for listen.trustedProxies.',
  ),
  connectionsPerUser: key(
    integer(1, 1_000_000),
    5000,
    "Connections of one user at one time, in all: each worker has an equal part, rounded up. Set it lower than limits.connections, so that no user keeps the others out. For one more the oldest of the user's that is idle is closed; if none is, the new one's request is answered with 429. Does not count for listen.trustedProxies.",
  ),
  unprovenBytes: key(
    size('1MiB', '64GiB'),
    '32MiB',
    'What connections on which nobody has shown a right password may make one worker hold, all of them together: handshakes, heads, bodies that nobody wants yet. The memory for it may be three times as large. Beyond it those that hold the most are closed; none that holds 4 KiB or less.',
  ),
  uploadsPerUser: key(
    integer(1, 1_000_000),
    500,
    'Uploads of one user at one time, or of one address where nobody says who asks; each worker counts for itself. Further ones are answered with 429.',
  ),
  pipelinedRequests: key(
    integer(1, 1000),
    16,
    'Requests that one connection may send before the first is answered. One more closes it. No more is read while two are unanswered and nobody has shown a right password on it, or while those unanswered are larger than limits.headerBytes.',
  ),
  manifestBytes: key(
    size('1B', '1GiB'),
    '4MiB',
    'Largest manifest that may be pushed. A larger one is answered with 413.',
  ),
  auditedBytes: key(
    size('0', '1GiB'),
    '32MiB',
    "How much of manifests that are being pushed is kept for the audit's lines, of all together: each worker has an equal part. Of one beyond it the line says no imageBytes.",
  ),
  catalogPages: key(
    integer(1, 1000),
    10,
    "How many parts of the registry's list of repositories (/v2/_catalog: 1000 names each, /v1/search: 100) are read for one answer to a user whom the policy shows only some. When they are not enough, the answer is shorter, and its Link goes on from there; a search ends there.",
  ),
  catalogPageBytes: key(
    size('64KiB', '64MiB'),
    '4MiB',
    'Largest such part. A larger one is answered with 502.',
  ),
  catalogWalks: key(
    integer(1, 1000),
    2,
    'How many such lists are put together at one time, in each worker: at most one for each user, and one for all who do not say who they are. Equal ones that wait are put together once.',
  ),
  catalogQueue: key(
    integer(1, 10_000),
    100,
    'How many different such lists may wait for that, in each worker, and at most 4 of one user, or of one address where nobody says who asks. Further ones are answered with 503, and with 429 for the one who has 4.',
  ),
  tagLockWait: key(
    duration('1ms', '1h'),
    '30s',
    'How long a write of an immutable tag, or a delete beside one, waits for others in the same repository; after that it is answered with 503.',
  ),
  tagLockQueue: key(
    integer(1, 100_000),
    100,
    'How many such writes may wait for one repository. Further ones are answered with 503.',
  ),
  tagQuestions: key(
    integer(2, 1_000_000),
    1000,
    'How much the registry is asked before a digest is deleted in a repository with immutable tags: once for each of them, and for each manifest of an index. Where that is not enough, the delete is refused; what was learned is kept for the next one.',
  ),
  tagListBytes: key(
    size('1KiB', '64MiB'),
    '4MiB',
    'Longest list of tags, all its pages together, that is read before a digest is deleted in a repository with immutable tags. Where it is longer, the delete is refused.',
  ),
  tagInquiries: key(
    integer(1, 1000),
    4,
    'How many such deletes each worker looks into at one time, one of each user. Further ones wait as for limits.tagLockWait, of each user as many as limits.tagLockQueue.',
  ),
  tagContentBytes: key(
    size('64KiB', '1GiB'),
    '8MiB',
    'How much each worker remembers of what the manifests of immutable tags name, so that it is not asked again.',
  ),
  deleteWait: key(
    duration('1ms', '1h'),
    '30s',
    'How long a delete waits until nothing else is under way in its repository, and how long anything else is held there for one; after that it is answered with 503.',
  ),
  deleteQueue: key(
    integer(1, 100_000),
    100,
    'How many deletes may wait for one repository. Further ones are answered with 503.',
  ),
  heldPerRepository: key(
    integer(1, 100_000),
    500,
    'How many requests are held for one repository while something is deleted there; each worker counts for itself. Further ones are answered with 503.',
  ),
  heldRequests: key(integer(1, 100_000), 2000, 'The same for all repositories together.'),
  relayBytes: key(
    size('1MiB', '16GiB'),
    '16MiB',
    'How many bytes of bodies on their way may wait for slow clients or for the registry in large pieces, in each worker. As more of it is used, pieces shrink from 512 KiB to 16 KiB; a connection that stalls then holds one small piece.',
  ),
  wholeAnswerBytes: key(
    size('16MiB', '16GiB'),
    '64MiB',
    'How many bytes of answers that are held whole (cached manifests, what is fetched for the cache, lists of repositories; those over 16KiB) may be on their way at one time, in each worker; what many are sent counts once. Beyond it manifests are passed through from upstream, and lists are answered with 503.',
  ),
  tokenFormBytes: key(
    size('1KiB', '1MiB'),
    '32KiB',
    'Largest body of a request for a token. It must come within limits.headerTimeout.',
  ),
  refusedBodyBytes: key(
    size('0', '256KiB'),
    '256KiB',
    "How much of a refused request's body is still read, so that the client can read why.",
  ),
  refusedBodyTimeout: key(
    duration('1ms'),
    '5s',
    "How long a refused request's body is still read, and its connection left to the client then.",
  ),
  refusedBodies: key(
    integer(0, 100_000),
    100,
    'Refused bodies that are still read at one time, by each worker. Of further ones nothing is read; their clients get the answer as well.',
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
