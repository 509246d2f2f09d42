import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AcmeError, parseRetryAfter, quoteCa } from '../../../src/acme/problem.ts';
import {
  accountSchema,
  authorizationSchema,
  directorySchema,
  orderSchema,
  parseResource,
  problemSchema,
  renewalInfoSchema,
} from '../../../src/acme/resources.ts';

const schemas = [
  accountSchema,
  authorizationSchema,
  directorySchema,
  orderSchema,
  problemSchema,
  renewalInfoSchema,
];
/** Objects with the members that count, and anything in them. */
const nearResources = fc.dictionary(
  fc.constantFrom(
    ...['status', 'authorizations', 'finalize', 'certificate', 'error', 'identifier', 'challenges'],
    ...['newNonce', 'newAccount', 'newOrder', 'renewalInfo', 'meta', 'suggestedWindow', 'type', 'detail'],
    ...['subproblems', '__proto__', 'constructor'],
  ),
  fc.jsonValue(),
);

describe('what a CA sends', () => {
  it('is taken, or refused with an AcmeError, whatever it is', () => {
    const tryAll = (body: Buffer) => {
      for (const schema of schemas)
        try {
          parseResource(body, schema, 'answer');
        } catch (error) {
          assert.ok(error instanceof AcmeError, String(error));
        }
    };
    fc.assert(
      fc.property(nearResources, (value) => tryAll(Buffer.from(JSON.stringify(value)))),
      { numRuns: 1000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => tryAll(Buffer.from(bytes))));
  });

  it('tells when to ask again within a week, or not at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.integer().map(String), fc.date().map(String)), (text) => {
        const ms = parseRetryAfter(text, Date.now());
        assert.ok(ms === null || (ms >= 0 && ms <= 7 * 86_400_000), `${text}: ${ms}`);
      }),
    );
    assert.equal(parseRetryAfter('120', 0), 120_000);
    assert.equal(parseRetryAfter(new Date(60_000).toUTCString(), 0), 60_000);
    assert.equal(parseRetryAfter('3000000', 0), 7 * 86_400_000);
  });

  it('reaches the log in one short line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), (text) => {
        const quoted = quoteCa(text);
        assert.ok(quoted.length <= 301);
        assert.doesNotMatch(quoted, /[\p{Cc}\u2028\u2029]/u);
      }),
    );
  });
});
