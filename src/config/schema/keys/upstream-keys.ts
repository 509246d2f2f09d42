import * as z from 'zod';
import { duration, filePath, folderPath, key, nullable, text } from '../types/key-type.ts';
import { upstreamUrl } from '../types/upstream-url.ts';

/** The keys of a registry, wherever it is configured. */
const upstreamKeys = {
  url: key(
    upstreamUrl(),
    'http://127.0.0.1:5000',
    'The registry behind Tidegate. Scheme, host and port only.',
  ),
  ca: key(
    nullable(filePath()),
    null,
    'PEM file with the CA certificates that verify an https upstream, instead of the public ones.',
  ),
  username: key(
    // RFC 7617 section 2: the first colon ends the name.
    nullable(text(/^[^:\p{Cc}]+$/u, 'a name without colon and control characters')),
    null,
    'User name for an upstream that requires credentials. Needs upstream.password.',
  ),
  password: key(
    { ...nullable(text(/^\P{Cc}+$/u, 'text without control characters')), isSecret: true },
    null,
    'Password for upstream.username. Take it from the environment; it is never printed.',
  ),
  storage: key(
    nullable(folderPath()),
    null,
    "The registry's storage.filesystem.rootdirectory, if it is on this machine and readable. Blobs are then sent from there, after the registry has allowed each.",
  ),
  connectTimeout: key(duration('1ms'), '5s', 'Longest time to connect to the upstream.'),
  readTimeout: key(
    duration('1ms'),
    '900s',
    'Longest silence of the upstream. A transfer that makes progress is never cut.',
  ),
  probeInterval: key(
    duration('100ms', '1h'),
    '5s',
    'How often the upstream is probed (GET /v2/) for /readyz, metrics and alerts. Only used with an admin listener or alerts.',
  ),
};

/** `upstream`: the registry behind Tidegate. */
export const upstream = withWholeCredentials(z.strictObject(upstreamKeys));

/** `upstream` of a route: the same keys, but it must say where. */
export const routeUpstream = withWholeCredentials(
  z.strictObject({ ...upstreamKeys, url: upstreamUrl().schema }),
);

/** Also beside other problems, but not where there is no section: a route must have one. */
function isSection({ value }: { value: unknown }): boolean {
  return typeof value === 'object' && value !== null;
}

/** Refuses a name without a password, and the reverse. */
function withWholeCredentials<S extends z.ZodType<{ username: unknown; password: unknown }>>(schema: S): S {
  return schema
    .refine(({ username, password }) => !(typeof username === 'string' && password === null), {
      path: ['username'],
      message: 'needs upstream.password: set both or neither',
      when: isSection,
    })
    .refine(({ username, password }) => !(typeof password === 'string' && username === null), {
      path: ['password'],
      message: 'needs upstream.username: set both or neither',
      when: isSection,
    });
}
