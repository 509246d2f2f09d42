import * as z from 'zod';
import { duration, integer, key, size } from '../types/key-type.ts';

/** `limits`: how much, and for how long, clients may make the process hold. */
export const limits = z.strictObject({
  headerBytes: key(size('1KiB', '1MiB'), '32KiB', 'Largest request head. Larger ones get 431.'),
  headerTimeout: key(duration('1ms'), '30s', 'Longest time to send the head of a request.'),
  handshakeTimeout: key(
    duration('1ms'),
    '10s',
    "Longest time for the TLS handshake, and for a load balancer's PROXY protocol header.",
  ),
  keepAliveTimeout: key(duration('1ms'), '75s', 'How long an idle connection waits for its next request.'),
  idleTimeout: key(
    duration('1ms'),
    '900s',
    'How long a client may neither send nor read during a request. A transfer that makes progress is never cut.',
  ),
  connections: key(
    integer(1, 1_000_000),
    10_000,
    'Most client connections, divided among the workers (rounded up). They are not spread evenly, so one worker may reach its part first. Beyond it each new connection closes the oldest unauthenticated one; if there is none, the new one is closed.',
  ),
  connectionsPerAddress: key(
    integer(1, 1_000_000),
    2500,
    'The same for one client address, or one IPv6 /64 network, per worker. Does not apply to listen.trustedProxies.',
  ),
  connectionsPerUser: key(
    integer(1, 1_000_000),
    5000,
    "Most connections of one user, divided among the workers (rounded up). Keep it below limits.connections, so that no user can lock the others out. Beyond it the user's oldest idle connection is closed; if none is idle, the new request gets 429. Does not apply to listen.trustedProxies.",
  ),
  unprovenBytes: key(
    size('1MiB', '64GiB'),
    '32MiB',
    'Bytes that all unauthenticated connections of one worker may hold together: handshakes, heads, unread bodies. The process may use up to three times as much memory for them. Beyond it the connections that hold the most are closed, but none that holds 4 KiB or less.',
  ),
  waitingBytes: key(
    size('1MiB', '64GiB'),
    '32MiB',
    'Bytes that waiting requests on authenticated connections of one worker may hold together: pipelined requests, and bodies that arrive before they are wanted. The process may use up to three times as much memory for them. Beyond it the connections that hold the most are closed, but none that holds 4 KiB or less.',
  ),
  uploadsPerUser: key(
    integer(1, 1_000_000),
    500,
    'Most uploads of one user, or of one address without credentials, per worker. Further ones get 429.',
  ),
  pipelinedRequests: key(
    integer(1, 1000),
    16,
    'Requests that a connection may send before the first is answered; one more closes it. Reading also stops while two are unanswered on an unauthenticated connection, or while the unanswered ones exceed limits.headerBytes.',
  ),
  manifestBytes: key(size('1B', '1GiB'), '4MiB', 'Largest manifest that may be pushed. Larger ones get 413.'),
  auditedBytes: key(
    size('0', '1GiB'),
    '32MiB',
    'Bytes of manifests under way that are kept for audit lines, divided among the workers. Beyond it the line has no imageBytes.',
  ),
  pushedManifestBytes: key(
    size('0', '16GiB'),
    '64MiB',
    'Bytes of manifests under way that each worker keeps if upstream.storage is set: one that a clean-up deleted before is written again. Beyond it a push of such a manifest gets 503, and any other delays the next deletions by clean.grace.',
  ),
  routeRequests: key(
    integer(1, 1_000_000),
    512,
    'Most requests without a body that wait for an answer of the registry of one route, per worker. Further ones get 503, so that a slow mirror cannot take up what others need.',
  ),
  routeFailures: key(
    integer(1, 1000),
    5,
    'After so many requests in a row without an answer, the registry of a route is not asked for limits.routePause.',
  ),
  routePause: key(
    duration('100ms', '1h'),
    '5s',
    'How long the registry of a route is not asked after limits.routeFailures. Its requests get 503 until then; afterwards one is tried.',
  ),
  routeSourceTimeout: key(
    duration('100ms', '1h'),
    '10s',
    'How long the mirror of a read-only route may take for a manifest or a list of tags, or until it begins to send a blob: it may be waiting for its source. After that a tag is served as the mirror last had it (this needs upstream.storage of the route), anything else gets 504.',
  ),
  routeListTimeout: key(
    duration('1ms', '10m'),
    '5s',
    'How long a list of all repositories waits for the registry of one route. Its names are then left out, the answer has a Warning, and lists do not ask that registry for limits.routePause (longer if it fails again, up to 12 times that).',
  ),
  catalogPages: key(
    integer(1, 1000),
    10,
    "How many pages of the registry's list (/v2/_catalog: 1000 names each, /v1/search: 100) are read for one answer to a user whom the policy shows only some repositories; with routes, for every answer, and of all registries together. If they are not enough, the answer is shorter and its Link continues from there; a search ends there.",
  ),
  catalogPageBytes: key(size('64KiB', '64MiB'), '4MiB', 'Largest such page. Larger ones get 502.'),
  catalogWalks: key(
    integer(1, 1000),
    2,
    'How many such lists each worker builds at the same time: at most one per user, and one for all anonymous clients. Equal requests that wait share one.',
  ),
  catalogQueue: key(
    integer(1, 10_000),
    100,
    'How many different such lists may wait in each worker, at most 4 per user or anonymous address. Further requests get 503, or 429 for a client that already has 4.',
  ),
  tagLockWait: key(
    duration('1ms', '1h'),
    '30s',
    'How long a write of an immutable tag, or a delete beside one, waits for others in its repository; then it gets 503.',
  ),
  tagLockQueue: key(
    integer(1, 100_000),
    100,
    'How many such writes may wait per repository. Further ones get 503.',
  ),
  tagQuestions: key(
    integer(2, 1_000_000),
    1000,
    'Most requests to the registry for one delete of a digest beside immutable tags: one per tag, and one per manifest of an index. If they are not enough, the delete is refused; what was learned is kept for the next attempt.',
  ),
  tagListBytes: key(
    size('1KiB', '64MiB'),
    '4MiB',
    'Longest list of tags, all pages together, that is read for a delete of a digest beside immutable tags. If it is longer, the delete is refused.',
  ),
  tagInquiries: key(
    integer(1, 1000),
    4,
    'How many such deletes each worker examines at the same time, one per user. Further ones wait as limits.tagLockWait and limits.tagLockQueue allow.',
  ),
  tagContentBytes: key(
    size('64KiB', '1GiB'),
    '8MiB',
    "Bytes of immutable tags' contents that each worker remembers, so that it need not ask again.",
  ),
  deleteWait: key(
    duration('1ms', '1h'),
    '30s',
    'How long a delete waits until its repository is idle, and how long other requests to the repository wait for a delete; then they get 503.',
  ),
  deleteQueue: key(
    integer(1, 100_000),
    100,
    'How many deletes may wait per repository. Further ones get 503.',
  ),
  heldPerRepository: key(
    integer(1, 100_000),
    500,
    'How many requests to one repository are held during a delete, per worker. Further ones get 503.',
  ),
  heldRequests: key(integer(1, 100_000), 2000, 'The same for all repositories together.'),
  pausedWrites: key(
    integer(1, 100_000),
    500,
    "How many writes are held while the registry's own collector runs (clean.collector), per worker; their bodies wait at the client, and what has arrived of them counts for limits.waitingBytes. Further ones get 503.",
  ),
  relayBytes: key(
    size('1MiB', '16GiB'),
    '16MiB',
    'Bytes of bodies in each worker that may wait in large pieces for slow clients or for the registry. As they are used up, pieces shrink from 512 KiB to 16 KiB; a stalled connection then holds one small piece. What is left of them may be kept for further pieces while there are transfers.',
  ),
  wholeAnswerBytes: key(
    size('16MiB', '16GiB'),
    '64MiB',
    'Bytes of answers that each worker holds whole at the same time: cached manifests, manifests being fetched for the cache, and lists, each over 16 KiB. What several clients receive counts once. Beyond it manifests are passed through from the upstream, and lists get 503.',
  ),
  tokenFormBytes: key(
    size('1KiB', '1MiB'),
    '32KiB',
    'Largest body of a token request. It must arrive within limits.headerTimeout.',
  ),
  consoleRequests: key(
    integer(1, 10_000),
    32,
    'How many requests to the registry the pages of the console make at the same time, per worker. Further ones wait, for at most limits.consoleTimeout.',
  ),
  consoleBytes: key(
    size('16MiB', '16GiB'),
    '64MiB',
    'Bytes of answers of the registry that the pages of the console hold at the same time, per worker. A page holds 16 MiB at most, until it is sent. Beyond it pages get 503.',
  ),
  consoleTimeout: key(
    duration('100ms', '10m'),
    '15s',
    'How long a page of the console may take to read what it shows; then it says that the registry does not answer.',
  ),
  consoleFormBytes: key(
    size('1KiB', '1MiB'),
    '16KiB',
    'Largest form that the console reads. It must arrive within limits.headerTimeout.',
  ),
  oidcTimeout: key(
    duration('1ms', '1m'),
    '5s',
    "Longest time to fetch an issuer's keys, discovery included.",
  ),
  oidcDocumentBytes: key(
    size('1KiB', '4MiB'),
    '256KiB',
    'Largest document of an issuer: its discovery document, and its keys.',
  ),
  oidcTokenBytes: key(
    size('1KiB', '16KiB'),
    '8KiB',
    'Largest ID token. As a password it takes a third more of limits.headerBytes.',
  ),
  refusedBodyBytes: key(
    size('0', '256KiB'),
    '256KiB',
    "How much of a refused request's body is still read, so that the client can read the answer.",
  ),
  refusedBodyTimeout: key(
    duration('1ms'),
    '5s',
    "How long a refused request's body is still read, and its connection then left open for the client.",
  ),
  refusedBodies: key(
    integer(0, 100_000),
    100,
    'How many refused bodies each worker still reads at the same time. Of further ones nothing is read; their clients get the answer as well.',
  ),
});
