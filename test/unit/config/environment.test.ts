import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatVariableName, readEnvironment } from '../../../src/config/load/environment.ts';
import { configKeys } from '../../../src/config/schema/key-list.ts';

describe('formatVariableName', () => {
  for (const [path, name] of [
    ['listen.port', 'TIDEGATE_LISTEN_PORT'],
    ['tls.clientCa', 'TIDEGATE_TLS_CLIENT_CA'],
    ['upstream.connectTimeout', 'TIDEGATE_UPSTREAM_CONNECT_TIMEOUT'],
    ['auth.maxShaCryptRounds', 'TIDEGATE_AUTH_MAX_SHA_CRYPT_ROUNDS'],
  ] as const) {
    it(`${path} → ${name}`, () => {
      assert.equal(formatVariableName(path), name);
    });
  }

  it('gives every key a name of its own, underscores or not', () => {
    const names = [...configKeys.keys()].map((path) => formatVariableName(path).replaceAll('_', ''));
    assert.equal(new Set(names).size, configKeys.size);
  });
});

describe('readEnvironment', () => {
  it('finds keys with and without underscores between words', () => {
    const env = { TIDEGATE_UPSTREAM_CONNECTTIMEOUT: '1s', TIDEGATE_LISTEN_PORT: '8443', PATH: '/bin' };
    const { values, problems } = readEnvironment(env);
    assert.deepEqual(problems, []);
    assert.deepEqual([...values].sort(), [
      ['listen.port', { variable: 'TIDEGATE_LISTEN_PORT', text: '8443' }],
      ['upstream.connectTimeout', { variable: 'TIDEGATE_UPSTREAM_CONNECTTIMEOUT', text: '1s' }],
    ]);
  });

  it('refuses two variables for one key', () => {
    const env = { TIDEGATE_UPSTREAM_CONNECTTIMEOUT: '1s', TIDEGATE_UPSTREAM_CONNECT_TIMEOUT: '2s' };
    assert.match(readEnvironment(env).problems[0]?.wrong ?? '', /unset one of them/);
  });

  it('refuses a variable that no key has, and names the nearest', () => {
    const { problems } = readEnvironment({ TIDEGATE_UPSTREM_URL: 'x', TIDEGATE_STATISTICS_PORT: '9090' });
    assert.deepEqual(
      problems.map(({ place }) => place),
      ['TIDEGATE_STATISTICS_PORT', 'TIDEGATE_UPSTREM_URL'],
    );
    assert.match(problems[1]?.wrong ?? '', /did you mean TIDEGATE_UPSTREAM_URL\?/);
  });

  it('passes over what Kubernetes injects for a service called tidegate, and the flavor', () => {
    const env = {
      TIDEGATE_FLAVOR: 'prod',
      TIDEGATE_SERVICE_HOST: '10.0.0.1',
      TIDEGATE_SERVICE_PORT: '443',
      TIDEGATE_SERVICE_PORT_HTTPS: '443',
      TIDEGATE_PORT: 'tcp://10.0.0.1:443',
      TIDEGATE_PORT_443_TCP: 'tcp://10.0.0.1:443',
      TIDEGATE_PORT_443_TCP_PROTO: 'tcp',
      TIDEGATE_PORT_443_TCP_PORT: '443',
      TIDEGATE_PORT_443_TCP_ADDR: '10.0.0.1',
      TIDEGATE_REDIS_SERVICE_HOST: '10.0.0.2',
      TIDEGATE_REDIS_PORT: 'tcp://10.0.0.2:6379',
    };
    const { values, problems } = readEnvironment(env);
    assert.deepEqual([values.size, problems], [0, []]);
    assert.equal(readEnvironment({ TIDEGATE_PORT: '8443' }).problems.length, 1);
  });
});
