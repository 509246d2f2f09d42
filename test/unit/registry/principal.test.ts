import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHtpasswd } from '../../../src/auth/htpasswd/htpasswd.ts';
import { anonymous, principalText } from '../../../src/registry/principal.ts';
import { machinesNamed, machineToken, user } from '../../support/principals.ts';

test('the text of a principal says its kind, and is the bare name for a user', () => {
  assert.equal(principalText(user('alice')), 'alice');
  assert.equal(principalText(machineToken('ci')), 'token:ci');
  const job = {
    kind: 'job',
    issuer: 'github',
    name: 'acme/app@refs/heads/main',
    claims: { ref: 'refs/heads/main' },
  } as const;
  assert.equal(principalText(job), 'job:github acme/app@refs/heads/main');
  assert.equal(principalText(anonymous), null);
});

test('no line of an htpasswd file makes a user with the text of a token or a job', () => {
  for (const machine of machinesNamed('ci')) {
    const text = principalText(machine) ?? '';
    const { entries } = parseHtpasswd(`${text}:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n`, {
      maxBcryptCost: 12,
      maxShaCryptRounds: 10_000,
    });
    assert.equal(entries.has(text), false);
  }
});
