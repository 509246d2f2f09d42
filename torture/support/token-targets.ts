import assert from 'node:assert/strict';
import { createRegistryTokens, type TokenHolder } from '../../src/auth/tokens/registry-tokens.ts';
import { OciError } from '../../src/registry/error.ts';
import { parseOperation, type Operation } from '../../src/registry/operation.ts';
import { isRepositoryName } from '../../src/registry/names/repository-name.ts';
import { parseTarget } from '../../src/registry/target.ts';
import { formatScope, parseScopes, type Scope } from '../../src/registry/token-scope.ts';
import { createBearerChallenge } from '../../src/pipeline/authenticate/bearer-challenge.ts';
import type { Exchange } from '../../src/pipeline/exchange.ts';
import { nameByHost } from '../../src/http/public-name.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import {
  anyByte,
  anyCharacter,
  characters,
  damaged,
  inOrder,
  oneOf,
  repeated,
  usually,
  type Rule,
} from './grammar.ts';
import { createRandom } from './random.ts';
import { registryMethod, registryPath, registryQuery } from './registry-targets.ts';
import { isName, readScopes } from './token-model.ts';
import { scopeTexts } from './token-requests.ts';

const scopes: FuzzTarget = {
  name: 'scopes of tokens',
  inputs: repeated(oneOf(scopeTexts, scopeTexts, repeated(anyCharacter, 0, 12)), 0, 3, '\r'),
  perSecond: 25_000,
  check: (text) => {
    const texts = text.split('\r');
    const expected = readScopes(texts);
    let read: Scope[];
    try {
      read = parseScopes(texts);
    } catch (error) {
      assert.ok(error instanceof RangeError && expected === null, String(error));
      return;
    }
    assert.ok(expected !== null, 'too many were taken');
    const found = read.filter(({ type }) => type === 'repository');
    assert.deepEqual(setsOf(found), new Map(expected.actions));
    assert.equal(new Set(found.map(({ name }) => name)).size, found.length, 'one repository twice');
    const others = read.filter(({ type }) => type !== 'repository');
    assert.deepEqual(others, expected.catalog ? [{ type: 'registry', name: 'catalog', actions: ['*'] }] : []);
    for (const { name } of found) assert.equal(isName(name), isRepositoryName(name));
    assert.deepEqual(setsOf(parseScopes([read.map(formatScope).join(' ')])), setsOf(read));
  },
};

const setsOf = (read: readonly Scope[]) => new Map(read.map(({ name, actions }) => [name, new Set(actions)]));

const basicField = { 'WWW-Authenticate': 'Basic realm="Registry"' };
const challenge = createBearerChallenge('Registry', () => basicField);
const host = usually(
  oneOf('registry.example:8443', 'registry.example', '[::1]:443', '127.0.0.1', 'A_b-c.d'),
  3,
  oneOf(
    damaged(oneOf('registry.example:8443', '[::1]:443'), 3),
    inOrder(
      'a',
      oneOf('"', '\\', '\r\nX: 1', '\n', ',Basic realm="x"', '", Bearer realm="//evil', '/', '@b', ' '),
    ),
    repeated(anyByte, 0, 12),
  ),
);
const oneParameter = /(?:^|,)([a-z]+)="([\x20\x21\x23-\x5b\x5d-\x7e]*)"/y;

const challenges: FuzzTarget = {
  name: 'the challenge that asks for a token',
  inputs: inOrder(
    registryMethod,
    ' ',
    oneOf(
      registryPath,
      inOrder(registryPath, '?', registryQuery),
      inOrder('/v2/', repeated(oneOf(anyByte, '"', ',', '%22', '%0a'), 0, 20), '/tags/list'),
    ),
    ' ',
    host,
  ),
  perSecond: 25_000,
  check: (text) => {
    const [method = '', rawTarget = '', ...rest] = text.split(' ');
    const host = rest.join(' ');
    let operation: Operation;
    try {
      operation = parseOperation(method, parseTarget(rawTarget), new Set());
    } catch (error) {
      // The request is refused before anybody is asked for a token.
      assert.ok(error instanceof OciError && error.code === 'BAD_REQUEST', String(error));
      return;
    }
    const asked = { method, rawTarget, host, publicName: nameByHost(host), operation } as Exchange;
    for (const fault of [undefined, 'invalid_token', 'insufficient_scope'] as const) {
      const fields = challenge(asked, fault);
      const value = fields['WWW-Authenticate'] ?? '';
      assert.equal(Object.keys(fields).length, 1);
      if (fields === basicField) continue;
      assert.ok(value.startsWith('Bearer '), value);
      const parameters = readParameters(value.slice('Bearer '.length));
      assert.equal(parameters.get('realm'), `https://${asked.host ?? ''}/token`);
      assert.ok(/^[A-Za-z0-9._:[\]-]+$/.test(asked.host ?? ''), 'the realm has an odd host');
      assert.equal(parameters.get('service'), 'Registry');
      assert.equal(parameters.get('error'), fault);
      const scope = parameters.get('scope');
      const known = 2 + (fault === undefined ? 0 : 1) + (scope === undefined ? 0 : 1);
      assert.equal(parameters.size, known, value);
      // What is asked for is understood when it comes back.
      if (scope !== undefined) {
        const asking = readScopes([scope]);
        assert.ok(asking !== null && !asking.catalog, scope);
        for (const word of scope.split(' ')) assert.equal(readScopes([word])?.actions.size, 1, scope);
        const decoded = rawTarget.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
          String.fromCharCode(parseInt(digits, 16)),
        );
        for (const name of asking.actions.keys()) assert.ok(decoded.includes(name), name);
      }
    }
  },
};

/** The parameters of one challenge and no more (RFC 9110 section 11.2); each once, and quoted without a quote within. */
function readParameters(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  oneParameter.lastIndex = 0;
  while (oneParameter.lastIndex < text.length) {
    const [, name = '', value = ''] = oneParameter.exec(text) ?? [];
    assert.ok(name !== '' && !parameters.has(name), `not one challenge: ${text}`);
    parameters.set(name, value);
  }
  return parameters;
}

/** Parsers of what tokens are asked for with, and the writer of what asks for them. */
export const tokenTargets: readonly FuzzTarget[] = [scopes, challenges];

const holderOf = (name: string, hash: string): TokenHolder => ({
  principal: { kind: 'user', name },
  hash,
  expiresMs: null,
});

/** Has tokens verified that were damaged, in either place that takes any: each is refused with a fault, and nothing throws. Gives how many there were. @throws Error */
export async function damageTokens(seed: number, count: number): Promise<number> {
  const users = new Map([
    ['alice', 'a hash'],
    ['bob', 'another'],
  ]);
  const tokens = createRegistryTokens({
    ...{
      secrets: ['a secret of thirty-two or more bytes', 'another secret of as many bytes as it'],
      service: 'Registry',
    },
    ...{ ttlMs: 300_000, refreshTtlMs: 300_000, maxRemembered: 100, now: Date.now },
    findHolder: (name) => {
      const hash = users.get(name);
      return hash === undefined ? undefined : holderOf(name, hash);
    },
  });
  const right: string[] = [];
  const subjects = [...users].map(([name, hash]) => holderOf(name, hash));
  for (const subject of [...subjects, null]) {
    const { token } = await tokens.issue(subject, [{ type: 'repository', name: 'a/b', actions: ['pull'] }]);
    assert.equal(typeof (await tokens.verify(token)), 'object', 'a right one is refused');
    right.push(token);
  }
  for (const subject of subjects) {
    const token = await tokens.issueRefresh(subject);
    assert.deepEqual(await tokens.verifyRefresh(token), subject, 'a right one is refused');
    right.push(token);
  }
  const piece = oneOf(anyByte, anyCharacter, '.', '=', 'A', ' ', characters('ABab01-_', 1, 9), ...right);
  const broken = damaged(oneOf(...right), 3, piece);
  // What decoders of Base64 overlook.
  const respelled: Rule = (one) => {
    const token = one.pick(right);
    const at = token.lastIndexOf('.') + one.below(44);
    return one.onceIn(2)
      ? token.slice(0, -1) + characters('ABCDEFGHIJKLMNOPQRSTUVWXYZ-_', 1, 1)(one)
      : token.slice(0, at) + one.pick(['=', ' ', '\n', '\t']) + token.slice(at);
  };
  const anything = repeated(oneOf(piece, anyCharacter), 0, 9);
  const random = createRandom(seed);
  for (let number = 0; number < count; number += 1) {
    const one = random.fork(number);
    const token = one.pick([broken, broken, broken, respelled, anything])(one);
    if (right.includes(token)) continue;
    const what = `seed ${seed}, number ${number}, ${JSON.stringify(token)}`;
    const found = await tokens.verify(token).catch((error: unknown) => {
      throw new Error(`${what}: ${String(error)}`);
    });
    assert.ok(found === 'invalid-token' || found === 'expired-token', `${what} was taken`);
    const subject = await tokens.verifyRefresh(token).catch((error: unknown) => {
      throw new Error(`${what}: ${String(error)}`);
    });
    assert.equal(subject, null, `${what} was taken`);
  }
  return count;
}
