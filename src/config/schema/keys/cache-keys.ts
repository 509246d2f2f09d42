import * as z from 'zod';
import { duration, filePath, key, nullable, oneOf, size, text } from '../types/key-type.ts';
import { redisUrl } from '../types/redis-url.ts';
import { fieldNames } from '../types/field-names.ts';

const redis = z.strictObject({
  url: key(
    redisUrl(),
    'redis://127.0.0.1:6379/0',
    'Redis for driver redis: one server, the sentinels of a group, or nodes of a cluster. Instances that share a registry use the same upstream.url and the same Redis.',
  ),
  keyPrefix: key(
    text(/^[\x21-\x7a]{1,100}$/, '1 to 100 printable ASCII characters without space and braces'),
    'tidegate:',
    'Prefix of every key. Other keys of a shared Redis are never touched.',
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
    'How long an instance that shares this Redis may be silent before it counts as gone. Until then deletes wait for it, and get 503 after limits.deleteWait.',
  ),
  timeout: key(
    duration('1ms', '10s'),
    '100ms',
    'How long a request waits for Redis. A later answer counts as none, and Redis is left alone until it has recovered.',
  ),
});

/** `cache`: which answers are cached, and where. */
export const cache = z.strictObject({
  driver: key(
    oneOf('memory', 'redis', 'off'),
    'memory',
    'Where manifests are cached: in memory, in a Redis that instances share, or nowhere.',
  ),
  redis,
  maxBytes: key(
    size('64KiB', '1024GiB'),
    '64MiB',
    "Size of the cache. With driver memory it is divided among the workers; a worker's part should not be less than maxEntryBytes. Beyond it the least recently used entries go.",
  ),
  maxEntryBytes: key(
    size('1KiB', '16MiB'),
    '4MiB',
    'Largest manifest that is cached. Larger ones are passed through.',
  ),
  tagTtl: key(
    duration('1ms', '1d'),
    '10s',
    'How long an answer is served without asking the upstream. Changes made around Tidegate are seen after this time.',
  ),
  headers: key(
    fieldNames(),
    [],
    'Header fields of your registry that a cached answer may have, besides the usual ones. An answer with any other field is passed on and not cached; the log names the field.',
  ),
});
