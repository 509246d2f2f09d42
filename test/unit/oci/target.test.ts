import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { OciError } from '../../../src/registry/error.ts';
import { parseRoute } from '../../../src/registry/route.ts';
import { parseTarget } from '../../../src/registry/target.ts';

const parse = (raw: string) => {
  try {
    return parseTarget(raw);
  } catch (error) {
    assert.ok(error instanceof OciError && error.code === 'BAD_REQUEST', String(error));
    return null;
  }
};

describe('parseTarget', () => {
  test('keeps the raw bytes, and takes the path apart', () => {
    assert.deepEqual(parseTarget('/v2/a%3Ab/%7e?x=%2F&y=//'), {
      raw: '/v2/a%3Ab/%7e?x=%2F&y=//',
      rawPath: '/v2/a%3Ab/%7e',
      path: '/v2/a:b/~',
    });
    assert.equal(parseTarget('/v2/caf%C3%A9').path, '/v2/café');
    assert.equal(parseTarget('/?').rawPath, '/');
  });

  const byte = fc.integer({ min: 0, max: 255 });
  const piece = fc.oneof(
    fc.constantFrom(
      '/',
      '.',
      '..',
      '%2e',
      '%2E',
      '%2f',
      '%5C',
      '\\',
      '%',
      '%25',
      '%252e',
      ';',
      '?',
      '#',
      'v2',
      'é',
    ),
    byte.map((code) => String.fromCharCode(code)),
    byte.map((code) => `%${code.toString(16).padStart(2, '0')}`),
  );
  const target = fc.array(piece, { maxLength: 16 }).map((pieces) => `/${pieces.join('')}`);

  test('throws only OciErrors, and accepts only what other readers read alike', () => {
    fc.assert(
      fc.property(target, (raw) => {
        const parsed = parse(raw);
        if (parsed === null) return;
        assert.equal(parsed.raw, raw);
        assert.ok(raw.startsWith(parsed.rawPath));
        assert.equal(new URL(`http://x${parsed.rawPath}`).pathname, parsed.rawPath);
        // However often the next one decodes and resolves, it comes to the same path.
        const again = new URL(`http://x${parsed.path.split('/').map(encodeURIComponent).join('/')}`);
        assert.equal(decodeURIComponent(again.pathname), parsed.path);
        assert.doesNotMatch(parsed.path, /[\x00-\x1f\x7f\\]/);
      }),
      { numRuns: 20_000 },
    );
  });

  test('a segment that dots make up never passes, however it is written', () => {
    const dot = fc.constantFrom('.', '%2e', '%2E');
    const dots = fc.array(dot, { minLength: 1, maxLength: 2 }).map((parts) => parts.join(''));
    const tail = fc.constantFrom('', '/', '/x', ';', ';a=b', ';/x', '%3b', '%3B/x', '?x');
    fc.assert(
      fc.property(fc.constantFrom('/', '/v2/', '/_ping/'), dots, tail, (start, segment, end) => {
        assert.equal(parse(start + segment + end), null);
      }),
    );
  });
});

describe('parseRoute', () => {
  const open = new Set(['/_ping', '/v1/_ping']);
  const blob = (repository: string, algorithm: string, hex: string) => ({
    kind: 'blob',
    repository,
    algorithm,
    hex,
  });
  const manifest = (repository: string, reference: string) => ({ kind: 'manifest', repository, reference });
  for (const [method, target, route] of [
    ['GET', '/_ping', { kind: 'open' }],
    ['HEAD', '/v1/_ping?x', { kind: 'open' }],
    ['POST', '/_ping', { kind: 'outside' }],
    ['POST', '/v1/_ping', { kind: 'registry', version: 'v1' }],
    ['GET', '/_pin%67', { kind: 'outside' }],
    ['GET', '/v1/_pin%67', { kind: 'registry', version: 'v1' }],
    ['GET', '/v2/', { kind: 'version-check' }],
    ['HEAD', '/v2/?x', { kind: 'version-check' }],
    ['POST', '/v2/', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2', { kind: 'registry', version: 'v2' }],
    ['GET', '/v%32/', { kind: 'registry', version: 'v2' }],
    ['GET', '/', { kind: 'registry', version: null }],
    ['GET', '/v1/', { kind: 'registry', version: 'v1' }],
    ['GET', '/v1', { kind: 'registry', version: 'v1' }],
    ['GET', '/v2/_catalog', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2/a/tags/list', { kind: 'registry', version: 'v2' }],
    ['PUT', '/v2/a/b/manifests/latest', { kind: 'manifest', repository: 'a/b', reference: 'latest' }],
    ['GET', '/v2/a/manifests/sha256%3A0a', { kind: 'manifest', repository: 'a', reference: 'sha256:0a' }],
    ['GET', '/v2/a/%6danifests/x?y', { kind: 'manifest', repository: 'a', reference: 'x' }],
    [
      'GET',
      '/v2/manifests/manifests/manifests',
      { kind: 'manifest', repository: 'manifests', reference: 'manifests' },
    ],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(32)}`, blob('a', 'sha256', '0a'.repeat(32))],
    [
      'HEAD',
      `/v2/a/b.c_d__e---f/blobs/sha256%3A${'0a'.repeat(32)}`,
      blob('a/b.c_d__e---f', 'sha256', '0a'.repeat(32)),
    ],
    ['GET', `/v2/a/blobs/b/blobs/sha512:${'0a'.repeat(64)}`, blob('a/blobs/b', 'sha512', '0a'.repeat(64))],
    ['DELETE', `/v2/a/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'registry', version: 'v2' }],
    ['GET', `/v2/a/blobs/sha256:${'0A'.repeat(32)}`, { kind: 'registry', version: 'v2' }],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(31)}`, { kind: 'registry', version: 'v2' }],
    ['GET', `/v2/a/blobs/sha256:${'0a'.repeat(64)}`, { kind: 'registry', version: 'v2' }],
    [
      'PUT',
      `/v2/${'a'.repeat(255)}/manifests/${'t'.repeat(128)}`,
      manifest('a'.repeat(255), 't'.repeat(128)),
    ],
    ['GET', `/v2/${'a'.repeat(256)}/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['HEAD', `/v2/${'a/'.repeat(15_000)}b/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['DELETE', `/v2/A/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['PUT', `/v2/a%E2%80%A8/manifests/x`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/a/manifests/${'t'.repeat(129)}`, { kind: 'misnamed', fault: 'reference' }],
    ['GET', `/v2/a/manifests/-x`, { kind: 'misnamed', fault: 'reference' }],
    ['PUT', `/v2/a/manifests/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'reference' }],
    ['DELETE', `/v2/a/blobs/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'digest' }],
    ['DELETE', `/v2/A/blobs/sha256:aa`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', '/v2/a/referrers/latest', { kind: 'registry', version: 'v2' }],
    ['GET', `/v2/a/referrers/sha256:${'a'.repeat(249)}`, { kind: 'misnamed', fault: 'digest' }],
    ['GET', `/v2/A/tags/list`, { kind: 'misnamed', fault: 'repository' }],
    ['POST', `/v2/A/blobs/uploads/`, { kind: 'misnamed', fault: 'repository' }],
    ['PATCH', `/v2/${'a'.repeat(256)}/blobs/uploads/x`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/${'a'.repeat(256)}/tags`, { kind: 'misnamed', fault: 'repository' }],
    ['PUT', `/v1/repositories/a/${'b'.repeat(256)}/`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/a%20/images`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v1/repositories/a/tags/${'t'.repeat(129)}`, { kind: 'misnamed', fault: 'tag' }],
    ['GET', `/v1/images/${'0'.repeat(129)}/json`, { kind: 'misnamed', fault: 'image' }],

    ['GET', `/v2/A/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/a..b/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', `/v2/_a/blobs/sha256:${'0a'.repeat(32)}`, { kind: 'misnamed', fault: 'repository' }],
    ['GET', '/v2/a/blobs/uploads/', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2/manifests/x', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2/a/manifests/', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2/a/manifests/x/y', { kind: 'registry', version: 'v2' }],
    ['GET', '/v2x/', { kind: 'outside' }],
    ['GET', '/V2/', { kind: 'outside' }],
    ['GET', '/metrics', { kind: 'outside' }],
  ] as const) {
    test(`${method} ${target.slice(0, 100)}`, () => {
      assert.deepEqual(parseRoute(method, parseTarget(target), open), route);
    });
  }
});
