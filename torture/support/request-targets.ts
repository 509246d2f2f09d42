import assert from 'node:assert/strict';
import { parseBasicCredentials } from '../../src/auth/basic-credentials.ts';
import { parseAccept } from '../../src/cache/accept.ts';
import { cacheableOf, writtenOf } from '../../src/cache/cacheable.ts';
import { accessOf } from '../../src/registry/access.ts';
import { changeOf } from '../../src/registry/change.ts';
import { OciError } from '../../src/registry/error.ts';
import { parseMount } from '../../src/registry/mount.ts';
import { parseOperation } from '../../src/registry/operation.ts';
import { parseTarget, type CanonicalTarget } from '../../src/registry/target.ts';
import { isChallenged } from '../../src/registry/version-check.ts';
import { parseGlob } from '../../src/policy/glob.ts';
import { buildUpstreamHeaders } from '../../src/upstream/request-headers.ts';
import { buildClientHeaders } from '../../src/upstream/response-headers.ts';
import { rewriteLocation } from '../../src/upstream/location.ts';
import { createPublicNames } from '../../src/pipeline/public-names.ts';
import { nameByHost } from '../../src/http/public-name.ts';
import { createClientAddresses } from '../../src/http/client-address.ts';
import { readTraceContext } from '../../src/http/trace-context.ts';
import { canonicalTargets, refusedTargets, targetPieces } from '../../test/support/cases/targets.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import {
  anyByte,
  anyCharacter,
  characters,
  damaged,
  encodedByte,
  inOrder,
  oneOf,
  repeated,
  usually,
  type Rule,
} from './grammar.ts';
import { registryMethod, registryPath, registryQuery } from './registry-targets.ts';

const openPaths = new Set(['/_ping', '/v1/_ping']);
const methods = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'];

const rawTarget = oneOf(
  registryPath,
  inOrder(registryPath, '?', registryQuery),
  inOrder('/', repeated(oneOf(anyByte, encodedByte, oneOf(...targetPieces)), 0, 24)),
  repeated(anyByte, 0, 12),
  inOrder(oneOf('http://', 'https:', '//', '*', '/\\'), registryPath),
  damaged(oneOf(...refusedTargets.map(([target]) => target), ...canonicalTargets), 2),
);

const canonicalPath: FuzzTarget = {
  name: 'canonical path',
  inputs: rawTarget,
  perSecond: 60_000,
  check: (raw) => {
    const target = parse(raw);
    const expected = readPath(raw);
    assert.equal(target?.path ?? null, expected);
    if (target === null) return;
    assert.equal(target.raw, raw);
    assert.ok(raw.startsWith(target.rawPath));
    assert.equal(new URL(`http://x${target.rawPath}`).pathname, target.rawPath);
  },
};

/** The path as RFC 3986 and 9112 have it, byte by byte; null where two readers could disagree. */
function readPath(raw: string): string | null {
  const [path = '', ...query] = raw.split('?');
  if (!path.startsWith('/') || raw.includes('#')) return null;
  if (
    Array.from(query.join('?')).some(
      (character) => character <= ' ' || character === '\x7f' || character > '\xff',
    )
  )
    return null;
  const bytes: number[] = [];
  for (let at = 0; at < path.length; at += 1) {
    const character = path.charAt(at);
    if (character === '%') {
      const digits = path.slice(at + 1, at + 3);
      if (!/^[0-9a-f]{2}$/i.test(digits)) return null;
      const byte = parseInt(digits, 16);
      if (byte < 0x20 || byte === 0x7f || byte === 0x2f || byte === 0x5c) return null;
      if (byte === 0x25 && /^[0-9a-f]{2}/i.test(path.slice(at + 3, at + 5))) return null;
      bytes.push(byte);
      at += 2;
    } else if (/[\w.~!$&'()*+,;=:@/-]/.test(character)) bytes.push(character.charCodeAt(0));
    else return null;
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
  const segments = path.split('/').slice(1);
  if (segments.slice(0, -1).includes('')) return null;
  const dots = text.split('/').some((segment) => ['.', '..'].includes(segment.split(';', 1)[0] ?? ''));
  return dots ? null : text;
}

/** A repository's name in its parts, said in other words than in src/. */
function isName(parts: readonly string[]): boolean {
  const isPart = (part: string) =>
    /^[a-z0-9._-]+$/.test(part) &&
    part.split(/[a-z0-9]+/).every((between, i, all) => {
      const isEnd = i === 0 || i === all.length - 1;
      return isEnd ? between === '' : ['.', '_', '__'].includes(between) || /^-+$/.test(between);
    });
  return parts.join('/').length <= 255 && parts.every(isPart);
}

function isReference(text: string): boolean {
  const [algorithm = '', hex, ...more] = text.split(':');
  if (hex === undefined) return text.length <= 128 && /^\w[\w.-]*$/.test(text);
  const words = algorithm.split(/[+._-]/);
  return (
    more.length === 0 &&
    text.length <= 255 &&
    words.every((word) => /^[a-z0-9]+$/.test(word)) &&
    /^[0-9a-f]+$/i.test(hex)
  );
}

const route: FuzzTarget = {
  name: 'route, policy, cache and audit',
  inputs: inOrder(registryMethod, ' ', registryPath, usually('', 3, inOrder('?', registryQuery))),
  perSecond: 60_000,
  check: (line) => {
    const space = line.indexOf(' ');
    const method = methods.includes(line.slice(0, space)) ? line.slice(0, space) : 'GET';
    const target = parse(line.slice(space + 1));
    if (target === null) return;
    const found = parseOperation(method, target, openPaths);
    const [first, version, ...rest] = target.path.split('/');
    const reference = rest.at(-1) ?? '';
    const namesManifest =
      first === '' && version === 'v2' && rest.length > 2 && rest.at(-2) === 'manifests' && reference !== '';
    const isManifest = namesManifest && isName(rest.slice(0, -2)) && isReference(reference);
    assert.equal(found.kind === 'manifest', isManifest, JSON.stringify(found));
    if (namesManifest && !isManifest) assert.equal(found.kind, 'misnamed');
    if (found.kind === 'manifest')
      assert.deepEqual([found.repository, found.reference], [rest.slice(0, -2).join('/'), reference]);
    if (found.kind === 'blob' && found.stored !== null) {
      const { algorithm, hex, repository } = found.stored;
      assert.equal(target.path, `/v2/${repository}/blobs/${algorithm}:${hex}`);
      assert.ok(!repository.split('/').some((part) => part === '' || part.startsWith('.')));
    }
    const access = accessOf(found);
    if (access?.kind === 'repository') {
      // The path names it, alone or as what the first protocol leaves out.
      const { repository } = access;
      const named = repository.replace(/^library\//, '');
      assert.ok(target.path.includes(`/${named}/`) || target.path.endsWith(`/${named}`), repository);
      assert.ok(access.action !== 'pull' || found.reads, 'what is no read is taken for a pull');
    }
    if (access?.kind === 'free') assert.ok(method === 'GET' || method === 'HEAD', 'a write is free');
    const cacheable = cacheableOf(found, target.path);
    const written = writtenOf(found);
    // A read that may be cached has a write of the same path that makes it out of date.
    if (cacheable !== null)
      assert.equal(writtenOf(parseOperation('PUT', target, openPaths))?.scope, cacheable.scope);
    const change = changeOf(found);
    if (change?.object === 'manifest' || (change?.object === 'tag' && !change.isV1))
      assert.equal(written?.scope, `v2:${change.repository}`);
    const mount = parseMount(target);
    if (mount !== null) {
      const without = parse(mount.rawTargetWithout);
      assert.equal(without?.path, target.path);
      const left = new URLSearchParams(mount.rawTargetWithout.slice(target.rawPath.length));
      assert.ok(!left.has('mount') && !left.has('from'));
    }
  },
};

const base64Text = characters('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 0, 60);
const encode =
  (rule: Rule): Rule =>
  (random) =>
    Buffer.from(rule(random)).toString('base64');
const pair = inOrder(repeated(anyCharacter, 0, 8), usually(':', 8, ''), repeated(anyCharacter, 0, 12));
const scheme = usually(
  oneOf('Basic ', 'basic ', 'BASIC  '),
  6,
  oneOf('Basic', 'Basic\t', 'Bearer ', '', 'Basic\xa0', 'Token '),
);
const basic: FuzzTarget = {
  name: 'Basic credentials',
  inputs: oneOf(
    inOrder(scheme, encode(pair)),
    inOrder(scheme, damaged(encode(pair), 2)),
    inOrder(scheme, base64Text, characters('=', 0, 3)),
    repeated(anyByte, 0, 40),
  ),
  perSecond: 150_000,
  check: (value) => {
    const read = parseBasicCredentials(value);
    if (read.kind === 'nobody') return;
    if (read.kind !== 'credentials') {
      // What is written as it should be must be understood.
      const [, encoded = ''] = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(value) ?? [];
      const bytes = Buffer.from(encoded, 'base64');
      const text = bytes.toString();
      const isRight =
        encoded !== '' && bytes.toString('base64') === encoded && Buffer.from(text).equals(bytes);
      assert.ok(!isRight || !text.includes(':') || /\p{Cc}/u.test(text) || text.length > 1024, 'refused');
      return;
    }
    const { name, password } = read;
    assert.ok(!name.includes(':') && !/\p{Cc}/u.test(name + password));
    assert.ok(/^basic +\S+$/i.test(value));
    const again = Buffer.from(`${name}:${password}`).toString('base64');
    assert.equal(value.replace(/^basic +/i, '').replace(/=*$/, ''), again.replace(/=*$/, ''));
  },
};

const mediaType = oneOf(
  ...[
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.oci.image.index.v1+json',
    '*/*',
    'text/html',
  ],
  ...[
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/*',
    'a/b',
    '',
    ' ',
    'APPLICATION/JSON',
  ],
);
const accept: FuzzTarget = {
  name: 'Accept',
  inputs: repeated(
    inOrder(
      mediaType,
      usually(
        '',
        2,
        oneOf(';q=0', ';q=0.0', '; q=1', ';q=0.001', ';Q=0', ' ;q= 0', ';a=b;q=0', ';', ';q=00'),
      ),
    ),
    0,
    6,
    oneOf(',', ', ', '\n', ' , ,', anyByte),
  ),
  perSecond: 60_000,
  check: (text) => {
    const values = text.split('\n');
    const read = parseAccept(values);
    const ranges = values.flatMap((value) => value.split(','));
    assert.equal(parseAccept([ranges.reverse().join(' ,\t')]).normalized, read.normalized);
    assert.equal(parseAccept([read.normalized]).normalized, read.normalized);
    for (const type of ['application/json', 'a/b', '*/*']) {
      assert.equal(read.names(type), parseAccept([read.normalized]).names(`${type};x=y`));
      if (read.names(type)) assert.ok(text.replace(/\s/g, '').toLowerCase().includes(type));
    }
  },
};

const fieldName = oneOf(
  ...[
    'Connection',
    'Host',
    'X-Forwarded-For',
    'x-forwarded-host',
    'Forwarded',
    'Authorization',
    'Transfer-Encoding',
    'TE',
  ],
  ...[
    'Upgrade',
    'X-Real-IP',
    'X_Real_IP',
    'Content-Length',
    'Trailer',
    'Keep-Alive',
    'traceparent',
    'tracestate',
    'Accept',
  ],
  ...[
    'X-Request-Id',
    'Proxy-Authorization',
    'Expect',
    'Content-Type',
    'Cookie',
    'Location',
    'Vary',
    '__proto__',
    'constructor',
  ],
);
const fieldText = oneOf(
  repeated(oneOf(fieldName, 'close', 'keep-alive', '', ' '), 0, 4, oneOf(',', ', ')),
  repeated(anyByte, 0, 20),
  inOrder('00-', characters('0123456789abcdef', 32, 32), '-', characters('0123456789abcdef', 16, 16), '-01'),
  repeated(oneOf('a=b', 'x@y=z', ' ', '\t', characters('a=@ ', 0, 9)), 0, 40, ','),
  inOrder(
    oneOf('http://', 'https://', '//', '/', 'HTTP://'),
    oneOf('127.0.0.1:5000', 'registry.example', 'evil.example', 'a@b'),
    oneOf('', '/x', '?y'),
  ),
);
const fields: FuzzTarget = {
  name: 'header fields',
  inputs: repeated(inOrder(fieldName, ':', fieldText), 0, 8, '\n'),
  perSecond: 25_000,
  check: (text) => {
    const rawHeaders = text.split('\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 1 ? [] : [line.slice(0, colon), line.slice(colon + 1)];
    });
    const trace = readTraceContext(rawHeaders);
    assert.ok(trace.traceId === null || /^[0-9a-f]{32}$/.test(trace.traceId));
    assert.ok(trace.state === null || (trace.state.length <= 512 && /^[\x20-\x7e]+$/.test(trace.state)));
    const sent = buildUpstreamHeaders(rawHeaders, {
      ...{
        publicScheme: 'https',
        publicAuthority: 'registry.example',
        keepsForwarded: false,
        peerAddress: '192.0.2.1',
        clientAddress: '192.0.2.1',
        peerIsTrusted: false,
      },
      ...{ requestId: 'id', traceparent: 'parent', tracestate: null },
      ...{ keepAuthorization: false, hidesForm: true, keepsCookies: true, upstreamAuthorization: null },
    });
    const own = new Map(Object.entries(sent).map(([name, value]) => [name.toLowerCase(), value]));
    assert.equal(own.size, Object.keys(sent).length, 'one field under two names');
    for (const name of [
      'connection',
      'te',
      'upgrade',
      'keep-alive',
      'trailer',
      'expect',
      'authorization',
      'forwarded',
      'tracestate',
      'proxy-authorization',
    ])
      assert.ok(!own.has(name), name);
    assert.equal(own.get('x-forwarded-for'), '192.0.2.1');
    assert.equal(own.get('x-forwarded-host'), 'registry.example');
    assert.equal(own.get('x-forwarded-proto'), 'https');
    assert.equal(own.get('x-real-ip'), '192.0.2.1');
    for (const name of Object.keys(sent)) assert.ok(!name.includes('_'), name);
    const { locationNames } = createPublicNames({
      certificateNames: ['registry.example'],
      listenPort: 443,
      upstreamUrl: new URL('http://127.0.0.1:5000'),
    });
    const host = 'registry.example';
    const names = locationNames({ host, publicName: nameByHost(host) });
    const edits = {
      set: { 'X-Cache': 'HIT' },
      names,
      ownsCors: false,
      passesV1Tokens: true,
    };
    const given = buildClientHeaders(rawHeaders, edits);
    assert.equal(given.length % 2, 0);
    for (const [index, name] of given.entries())
      if (index % 2 === 0 && name.toLowerCase() === 'location')
        assert.doesNotMatch(given[index + 1] ?? '', /^https?:\/\/127\.0\.0\.1:5000/i);
    for (const value of rawHeaders) {
      const rewritten = rewriteLocation(value, names);
      if (rewritten !== value) assert.ok(rewritten.startsWith('https://registry.example'), rewritten);
    }
    assert.equal(
      typeof isChallenged('auto', 'GET', text, { challengeAgents: ['x'], openAgents: ['y'] }),
      'boolean',
    );
  },
};

const addressText = oneOf(
  ...[
    '10.0.0.1',
    '192.0.2.7',
    '::1',
    '[::1]',
    '[::1]:80',
    '::ffff:10.0.0.1',
    '10.0.0.1:443',
    'unknown',
    '_x',
    '',
    'fe80::1%eth0',
  ],
  ...[
    '010.0.0.1',
    '10.1',
    '[10.0.0.1]',
    '2001:db8::1',
    '10.0.0.1, ',
    '256.0.0.1',
    '0x0a000001',
    '[::ffff:10.0.0.9]',
  ],
);
const addresses = createClientAddresses(['10.0.0.0/8', '::1', 'fd00::/8']);
const forwardedFor: FuzzTarget = {
  name: 'X-Forwarded-For',
  inputs: damaged(repeated(addressText, 0, 6, oneOf(',', ', ', ' ,')), 1),
  perSecond: 25_000,
  check: (text) => {
    // From somebody who is not trusted, nothing counts; from one who is, never more than what follows the first stranger.
    assert.equal(addresses.resolve('198.51.100.1', text), '198.51.100.1');
    const resolved = addresses.resolve('10.0.0.1', text);
    assert.equal(addresses.resolve('10.0.0.1', `1.2.3.4,198.51.100.9,${text}`) === '1.2.3.4', false);
    assert.ok(text.includes(resolved) || resolved === '10.0.0.1' || /[:.]/.test(resolved), resolved);
  },
};

const globPart = oneOf('a', 'b', 'ab', '*', 'a*', '*a', 'a*b', '**', '*a*b*', '-', 'team');
const nameText = repeated(characters('ab-', 1, 4), 1, 5, '/');
const glob: FuzzTarget = {
  name: 'patterns of repositories',
  inputs: inOrder(repeated(globPart, 1, 6, '/'), ' ', nameText),
  perSecond: 120_000,
  check: (text) => {
    const [pattern = '', name = ''] = text.split(' ');
    let compiled: ReturnType<typeof parseGlob>;
    try {
      compiled = parseGlob(pattern);
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error));
      return;
    }
    assert.equal(compiled.matches(name), matchesGlob(pattern.split('/'), name.split('/')));
  },
};

/** The definition, as it reads: `**` is any number of segments, at the end at least one. */
function matchesGlob([part, ...parts]: readonly string[], segments: readonly string[]): boolean {
  if (part === undefined) return segments.length === 0;
  const [segment, ...rest] = segments;
  if (part === '**') {
    if (parts.length === 0) return segments.length > 0;
    return segments.some((_, taken) => matchesGlob(parts, segments.slice(taken)));
  }
  return segment !== undefined && matchesStars(part, segment) && matchesGlob(parts, rest);
}

function matchesStars(part: string, text: string): boolean {
  if (part === '') return text === '';
  if (part.startsWith('*'))
    return matchesStars(part.slice(1), text) || (text !== '' && matchesStars(part, text.slice(1)));
  return text.startsWith(part.charAt(0)) && matchesStars(part.slice(1), text.slice(1));
}

function parse(raw: string): CanonicalTarget | null {
  try {
    return parseTarget(raw);
  } catch (error) {
    assert.ok(error instanceof OciError && error.code === 'BAD_REQUEST', String(error));
    return null;
  }
}

/** What a client can send. */
export const requestTargets: readonly FuzzTarget[] = [
  canonicalPath,
  route,
  basic,
  accept,
  fields,
  forwardedFor,
  glob,
];
