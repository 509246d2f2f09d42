import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { OciError } from '../../../src/registry/error.ts';
import { parseTarget } from '../../../src/registry/target.ts';
import { canonicalTargets, refusedTargets, targetPieces } from '../../support/cases/targets.ts';

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

  test('refuses what two readers could read in two ways', () => {
    for (const [target, attack] of refusedTargets) assert.equal(parse(target), null, `${target} ${attack}`);
  });

  test('takes what is canonical, as it is', () => {
    for (const target of canonicalTargets) assert.equal(parse(target)?.raw, target);
  });

  const byte = fc.integer({ min: 0, max: 255 });
  const piece = fc.oneof(
    fc.constantFrom(...targetPieces),
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
