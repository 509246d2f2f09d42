import { createHash } from 'node:crypto';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { clientHost } from '../../test/support/raw-client.ts';

export type LoadAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Empty if only the digest is wanted. */
  readonly body: Buffer;
  /** SHA-256 of the received body. */
  readonly digest: string;
};

export type LoadRequest = {
  readonly method: string;
  readonly target: string;
  /** A complete Authorization value; null: anonymous. */
  readonly authorization: string | null;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
  /** Whether to hash the body only, without keeping it. */
  readonly hashOnly?: boolean;
};

/** A light client with keep-alive connections: the CPU is for Tidegate. */
export type LoadClient = {
  /** Rejects if the connection breaks. */
  ask(asked: LoadRequest): Promise<LoadAnswer>;
  /** Reads so much of the answer's body, then aborts. */
  leaveDownload(asked: LoadRequest, afterBytes: number): Promise<void>;
  /** Announces the body, sends only so much of it, then aborts; with the whole body, before the answer. */
  leaveUpload(asked: LoadRequest & { readonly body: Buffer }, afterBytes: number): Promise<void>;
  close(): void;
};

/** @param localAddress its source address, on loopback */
export function createLoadClient(
  frontDoor: { readonly port: number; readonly ca: string },
  localAddress = '127.0.0.1',
): LoadClient {
  const agent = new Agent({ keepAlive: true, ca: frontDoor.ca, servername: 'localhost' });
  const start = (
    { method, target, authorization, headers = {}, body }: LoadRequest,
    own: Agent | false,
  ): ClientRequest =>
    request({
      ...{ host: '127.0.0.1', port: frontDoor.port, localAddress, method, path: target, agent: own },
      ...{ ca: frontDoor.ca, servername: 'localhost' },
      headers: {
        Host: clientHost,
        ...(authorization === null ? {} : { Authorization: authorization }),
        ...(body ? { 'Content-Length': body.length } : {}),
        ...headers,
      },
    });
  return {
    ask: (asked) =>
      new Promise((resolve, reject) => {
        const sent = start(asked, agent);
        sent.on('error', reject);
        sent.on('response', (response: IncomingMessage) => {
          const hash = createHash('sha256');
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => {
            hash.update(chunk);
            if (asked.hashOnly !== true) chunks.push(chunk);
          });
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
              digest: `sha256:${hash.digest('hex')}`,
            }),
          );
        });
        sent.end(asked.body);
      }),
    leaveDownload: (asked, afterBytes) =>
      new Promise((resolve) => {
        const sent = start(asked, false);
        let received = 0;
        sent.on('error', () => {}).on('close', resolve);
        sent.on('response', (response) => {
          response.on('error', () => {}).on('end', () => sent.destroy());
          response.on('data', (chunk: Buffer) => {
            received += chunk.length;
            if (received >= afterBytes) sent.destroy();
          });
        });
        sent.end();
      }),
    leaveUpload: (asked, afterBytes) =>
      new Promise((resolve) => {
        const sent = start(asked, false);
        sent.on('error', () => {}).on('close', resolve);
        sent.on('response', (response) => response.resume().on('error', () => {}));
        sent.write(asked.body.subarray(0, Math.max(1, afterBytes)), () => sent.destroy());
      }),
    close: () => agent.destroy(),
  };
}
