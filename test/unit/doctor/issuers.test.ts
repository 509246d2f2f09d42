import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { runChecks } from '../../../src/doctor/check.ts';
import { createIssuerChecks } from '../../../src/doctor/operator/identity/issuers.ts';
import { audience, keySet, signingKey, startIssuer, type Issuer } from '../../support/issuer.ts';

describe('the doctor on issuers of ID tokens', () => {
  let issuer: Issuer;
  before(async () => {
    issuer = await startIssuer([signingKey('one')]);
  });
  after(() => issuer.stop());
  const examine = async (oidc: readonly object[], oidcTimeout = 5000) => {
    const checks = createIssuerChecks({
      auth: { oidc },
      limits: { oidcTimeout, oidcDocumentBytes: 4096 },
    } as never);
    const { signal } = new AbortController();
    const [finding] = await runChecks(checks, { deadline: signal, onStart: () => {} });
    assert.ok(finding);
    return [finding.state, finding.what, finding.fix] as const;
  };
  const own = () => ({ name: 'ci', issuer: issuer.url, audience, jwks: null, ca: issuer.caPath });

  test('none, and one whose keys can be fetched', async () => {
    assert.deepEqual(await examine([]), ['ok', 'auth.oidc names no issuer of ID tokens.', null]);
    assert.deepEqual(await examine([own()]), [
      'ok',
      'The keys of every issuer in auth.oidc can be fetched.',
      null,
    ]);
  });

  test('one that is wrong, beside one that is right', async () => {
    const [state, what, fix] = await examine([own(), { ...own(), name: 'gone', ca: null }]);
    assert.equal(state, 'broken');
    assert.match(what, /^The keys of the issuer gone cannot be fetched: https:.*well-known.*certificate/);
    assert.match(fix ?? '', /^curl -v ISSUER/);
    const [, missing] = await examine([{ ...own(), ca: '/nowhere/ca.crt' }]);
    assert.match(missing, /ci cannot be fetched: .*\/nowhere\/ca\.crt/);
    const [, lying] = await examine([{ ...own(), issuer: `${issuer.url}/` }]);
    assert.match(lying, /it is the document of another issuer than https/);
  });

  test('one with no usable key', async () => {
    issuer.documents.jwks = keySet([]);
    const [state, what] = await examine([own()]);
    issuer.documents.jwks = keySet([signingKey('one')]);
    assert.deepEqual(
      [state, what],
      ['broken', 'The issuer ci publishes no key that can verify an ID token.'],
    );
  });

  test('one that takes the connection and says nothing, in bounded time', async () => {
    const silent = createServer();
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const [state, what] = await examine([{ ...own(), issuer: url }], 100);
    silent.close();
    assert.deepEqual(
      [state, what],
      [
        'broken',
        `The keys of the issuer ci cannot be fetched: ${url}/.well-known/openid-configuration: it took longer than 100 ms.`,
      ],
    );
  });
});
