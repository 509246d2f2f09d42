import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Pebble } from './pebble.ts';

/** A request of an ACME client, with what it has signed. */
export type AcmeRequest = {
  readonly method: string;
  readonly path: string;
  /** The payload of the JWS; undefined: there is none, or it is empty (POST-as-GET). */
  readonly payload: Readonly<Record<string, unknown>> | undefined;
  /** What is asked for, by the path: directory, nonce, account, order, authz, chall, finalize, certificate. */
  readonly kind: string;
};

export type AcmeAnswer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
};

/** Decides what is done with a request: an answer, a function that answers by itself, or null: it is led to the CA. */
export type Interception = (
  request: AcmeRequest,
) => AcmeAnswer | ((response: ServerResponse) => void) | null | Promise<null>;

/** Stands between an ACME client and its CA, sees everything, and can put in anything. */
export type AcmeProxy = {
  readonly directory: string;
  /** What was asked so far, in order. */
  readonly requests: AcmeRequest[];
  intercept(by: Interception): void;
  /** Changes what the CA answers. */
  edit(by: (request: AcmeRequest, body: string) => string): void;
  stop(): Promise<void>;
};

const kinds: readonly (readonly [RegExp, string])[] = [
  [/^\/dir$/, 'directory'],
  [/^\/nonce-plz$/, 'nonce'],
  [/^\/sign-me-up$/, 'account'],
  [/^\/my-account\//, 'account'],
  [/^\/order-plz$/, 'order'],
  [/^\/my-order\//, 'order'],
  [/^\/authZ\//, 'authz'],
  [/^\/chalZ\//, 'chall'],
  [/^\/finalize-order\//, 'finalize'],
  [/^\/certZ\//, 'certificate'],
];

export async function startAcmeProxy(pebble: Pebble): Promise<AcmeProxy> {
  const [cert, key, ca] = await Promise.all(
    [pebble.certPath, pebble.keyPath, pebble.caPath].map((path) => readFile(path)),
  );
  const requests: AcmeRequest[] = [];
  let intercept: Interception = () => null;
  let edit: (request: AcmeRequest, body: string) => string = (_request, body) => body;
  const { port: caPort } = new URL(pebble.directory);

  const serve = async (req: IncomingMessage, res: ServerResponse) => {
    const sent = await collect(req);
    const { method = '', url: path = '' } = req;
    const kind = kinds.find(([pattern]) => pattern.test(path))?.[1] ?? 'other';
    const asked = { method, path, payload: readPayload(sent), kind };
    requests.push(asked);
    const answer = await intercept(asked);
    if (typeof answer === 'function') {
      answer(res);
      return;
    }
    if (answer !== null) {
      res.writeHead(answer.status, answer.headers);
      res.end(answer.body);
      return;
    }
    // The CA makes its URLs from the Host, so that everything comes by here.
    const onward = request({
      ...{ host: 'localhost', port: caPort, ca, method, path },
      headers: req.headers,
    });
    onward.on('error', () => res.destroy());
    onward.end(sent);
    const [given] = (await once(onward, 'response')) as [IncomingMessage];
    const body = edit(asked, (await collect(given)).toString());
    const headers = { ...given.headers };
    delete headers['content-length'];
    res.writeHead(given.statusCode ?? 0, headers);
    res.end(body);
  };
  const server = createServer({ cert, key }, (req, res) => {
    serve(req, res).catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    directory: `https://localhost:${port}/dir`,
    requests,
    intercept: (by) => {
      intercept = by;
    },
    edit: (by) => {
      edit = by;
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function collect(from: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of from) pieces.push(piece);
  return Buffer.concat(pieces);
}

function readPayload(body: Buffer): Record<string, unknown> | undefined {
  if (body.length === 0) return undefined;
  const { payload = '' } = JSON.parse(body.toString()) as { payload?: string };
  return payload === ''
    ? undefined
    : (JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>);
}

/** A refusal as RFC 8555 section 6.7 has it. */
export function refusal(
  status: number,
  type: string,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): AcmeAnswer {
  const body = JSON.stringify({ type: `urn:ietf:params:acme:error:${type}`, detail, status });
  return { status, headers: { 'Content-Type': 'application/problem+json', ...headers }, body };
}
