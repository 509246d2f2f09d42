import * as z from 'zod';
import { duration, integer, key, size } from './key-type.ts';

/** `limits`: what clients may make the process hold, and for how long. */
export const limits = z.strictObject({
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
  waitingBytes: key(
    size('1MiB', '64GiB'),
    '32MiB',
    'What requests that wait may make one worker hold on all other connections together: requests behind another on their connection, and bodies that came before they are wanted. The memory for it may be three times as large. Beyond it the connections on which the most waits are closed; none on which 4 KiB or less wait.',
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
