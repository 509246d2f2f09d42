import assert from 'node:assert/strict';
import type { FrontDoor } from './front-door.ts';
import { head, values } from './http-message.ts';
import { clientHost, exchange, type Response } from './raw-client.ts';

/** An answer of /token. */
export type TokenAnswer = {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly refresh_token?: string;
  readonly scope: string;
};

export const basicOf = (name: string, password: string): string =>
  `Authorization: Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

type Door = Pick<FrontDoor, 'port' | 'ca'>;

/** Sends `GET /token?…`, with further header lines. */
export const getToken = (door: Door, query: string, ...lines: string[]): Promise<Response> =>
  exchange(door, head(`GET /token?${query} HTTP/1.1`, `Host: ${clientHost}`, ...lines));

/** Sends `POST /token` with a form. */
export const postToken = (
  door: Door,
  form: Readonly<Record<string, string>> | URLSearchParams | string,
  ...lines: string[]
): Promise<Response> => {
  const body = typeof form === 'string' ? form : new URLSearchParams(form).toString();
  const type = 'Content-Type: application/x-www-form-urlencoded';
  const length = `Content-Length: ${Buffer.byteLength(body)}`;
  return exchange(door, head('POST /token HTTP/1.1', `Host: ${clientHost}`, type, length, ...lines) + body);
};

/** The answer with a token; fails if there is none. */
export function tokenIn(response: Response): TokenAnswer {
  assert.equal(response.status, 200, response.body.toString());
  assert.deepEqual(values(response, 'cache-control'), ['no-store']);
  const answer = JSON.parse(response.body.toString()) as TokenAnswer;
  assert.equal(answer.access_token, answer.token);
  return answer;
}

/** Sends a request with a token, or without Authorization. */
export const askWith = (door: Door, token: string | null, request: string, ...lines: string[]) =>
  exchange(
    door,
    head(
      `${request} HTTP/1.1`,
      `Host: ${clientHost}`,
      ...(token === null ? [] : [`Authorization: Bearer ${token}`]),
      ...(/^(?:GET|HEAD)/.test(request) ? [] : ['Content-Length: 0']),
      ...lines,
    ),
  );

/** The challenge of an answer; fails unless there is exactly one. */
export function challengeOf(response: Response): string {
  const [challenge, ...others] = values(response, 'www-authenticate');
  assert.ok(challenge !== undefined && others.length === 0, 'one challenge');
  return challenge;
}
