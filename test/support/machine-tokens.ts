import assert from 'node:assert/strict';
import path from 'node:path';
import type { FrontDoor } from './front-door.ts';
import { head } from './http-message.ts';
import { clientHost, exchange, type Response } from './raw-client.ts';
import { tidegate } from './processes.ts';
import { basicOf } from './tokens.ts';

/** The setting for a Tidegate whose tokens {@link makeToken} creates. */
export const tokenFile = 'auth.machineTokens=tokens.yml';

/** Runs `tidegate token` on that Tidegate's file. */
export async function tokenCommand({ dir }: Pick<FrontDoor, 'dir'>, ...args: string[]): Promise<string> {
  const done = await tidegate(['token', ...args, '--file', path.join(dir, 'tokens.yml')], { cwd: dir });
  assert.equal(done.code, 0, done.stderr);
  return done.stdout.trimEnd();
}

/** Sends one request with a name and password. */
export const askAs = (
  door: Pick<FrontDoor, 'port' | 'ca'>,
  login: readonly [name: string, password: string],
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
  login: readonly [name: string, password: string],
  request: string,
  status: number,
): Promise<void> {
  const giveUpAtMs = performance.now() + 10_000;
  for (;;) {
    const response = await askAs(door, login, request);
    if (response.status === status) return;
    assert.ok(performance.now() < giveUpAtMs, `still ${response.status}: ${response.body.toString()}`);
  }
}
