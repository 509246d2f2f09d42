import { connectClient, type RawClient, type Response } from './raw-client.ts';
import type { FrontDoor } from './front-door.ts';
import { head, values } from './http-message.ts';

/** A login: user, password and address. */
export type Login = { readonly name: string; readonly password: string; readonly from?: string };

/** Builds a request with a name and password. */
export const loginRequest = ({ name, password }: Login, ...lines: string[]): string =>
  head(
    'GET /v2/x HTTP/1.1',
    'Host: registry.example:8443',
    `Authorization: Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
    ...lines,
  );

/** Sends a login on its own connection. */
export async function logIn(
  frontDoor: Pick<FrontDoor, 'port' | 'ca'>,
  login: Login,
  ...lines: string[]
): Promise<Response> {
  const client = await connectClient(frontDoor, { localAddress: login.from ?? '127.0.0.1' });
  try {
    return await logInOver(client, login, ...lines);
  } finally {
    client.leave();
  }
}

/** Sends a login on an open connection. */
export function logInOver(client: RawClient, login: Login, ...lines: string[]): Promise<Response> {
  client.send(loginRequest(login, ...lines));
  return client.response();
}

/** The seconds in Retry-After; NaN for none. */
export const retryAfterS = (response: Response): number => Number(values(response, 'retry-after')[0] ?? NaN);
