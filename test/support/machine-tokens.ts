import assert from 'node:assert/strict';
import path from 'node:path';
import { createMachineToken, hashMachineToken } from '../../src/auth/machine-tokens/machine-token.ts';
import { addToken } from '../../src/auth/machine-tokens/token-list-editor.ts';
import { checkGrantPattern } from '../../src/policy/token-grants.ts';
import type { TokenGrant } from '../../src/registry/principal.ts';
import type { FrontDoor } from './front-door.ts';
import { head } from './http-message.ts';
import { machineToken } from './principals.ts';
import { clientHost, exchange, type Response } from './raw-client.ts';
import { tidegate } from './processes.ts';
import { until } from './redis.ts';
import { basicOf } from './tokens.ts';

/** The setting for a Tidegate whose tokens {@link tokenCommand} and {@link addTokens} create. */
export const tokenFile = 'auth.machineTokens=tokens.yml';

/** Settings for tests that ask again and again until a change is in effect. */
export const patient = ['auth.throttle.addressFailures=100000', 'auth.throttle.repeatFailures=100000'];

/** The name and password of a machine token. */
export type TokenLogin = readonly [name: string, password: string];

/** Runs `tidegate token` on that Tidegate's file. */
export async function tokenCommand({ dir }: Pick<FrontDoor, 'dir'>, ...args: string[]): Promise<string> {
  const done = await tidegate(['token', ...args, '--file', path.join(dir, 'tokens.yml')], { cwd: dir });
  assert.equal(done.code, 0, done.stderr);
  return done.stdout.trimEnd();
}

/** What a token of {@link addTokens} may do; left out: pull everywhere, for ever. */
type Wanted = Partial<TokenGrant> & { readonly expiresMs?: number };

/** Adds tokens as `token create` does, without a process for each, and waits until they are in effect: until the last one is. */
export async function addTokens<Name extends string>(
  door: Pick<FrontDoor, 'dir' | 'port' | 'ca'>,
  wanted: Readonly<Record<Name, Wanted>>,
): Promise<Record<Name, TokenLogin>> {
  const file = path.join(door.dir, 'tokens.yml');
  const model = path.join(door.dir, 'htpasswd');
  const logins: TokenLogin[] = [];
  for (const [name, { expiresMs = null, ...grant }] of Object.entries<Wanted>(wanted)) {
    const token = createMachineToken();
    await addToken(
      { file, model, checkPattern: checkGrantPattern },
      {
        principal: machineToken(name, { actions: ['pull'], ...grant }),
        sha256: hashMachineToken(token),
        createdMs: Date.now(),
        expiresMs,
      },
    );
    logins.push([name, token]);
  }
  const [last] = logins.slice(-1);
  if (last) await untilStatus(door, last, 'GET /v2/', 200);
  return Object.fromEntries(logins.map((login) => [login[0], login])) as Record<Name, TokenLogin>;
}

/** Sends one request with a name and password. */
export const askAs = (
  door: Pick<FrontDoor, 'port' | 'ca'>,
  login: TokenLogin,
  request: string,
  ...lines: string[]
): Promise<Response> =>
  exchange(
    door,
    head(
      `${request} HTTP/1.1`,
      `Host: ${clientHost}`,
      basicOf(...login),
      ...(/^(?:GET|HEAD)/.test(request) ? [] : ['Content-Length: 0']),
      ...lines,
    ),
  );

/** Waits until a change of the file is in effect: until this request gets this answer. */
export async function untilStatus(
  door: Pick<FrontDoor, 'port' | 'ca'>,
  login: TokenLogin,
  request: string,
  status: number,
): Promise<void> {
  const response = await askAs(door, login, request);
  if (response.status === status) return;
  await until(
    `${login[0]} gets ${status}, after ${response.status} ${response.body.toString()}`,
    async () => (await askAs(door, login, request)).status === status,
  );
}
