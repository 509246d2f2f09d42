import { Agent, request } from 'node:https';
import { headerValues } from '../../src/http/raw-headers.ts';
import { basic, type FrontDoor } from './front-door.ts';
import { clientHost } from './raw-client.ts';

export type Answer = {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** The first value of a field, or "". */
  readonly header: (name: string) => string;
};

/** A client with the right password and keep-alive connections. It sends the same Host to every instance. */
export type CacheClient = {
  ask(
    method: string,
    target: string,
    options?: { headers?: Record<string, string | string[]>; body?: string | Buffer },
  ): Promise<Answer>;
  close(): void;
};

export function createCacheClient({ port, ca }: Pick<FrontDoor, 'port' | 'ca'>): CacheClient {
  const agent = new Agent({ keepAlive: true, ca, servername: 'localhost' });
  return {
    ask: (method, target, { headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const asked = request({
          host: '127.0.0.1',
          port,
          agent,
          method,
          path: target,
          headers: { Host: clientHost, Authorization: basic, ...headers },
        });
        asked.on('error', reject);
        asked.on('response', (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              rawHeaders: response.rawHeaders,
              body: Buffer.concat(chunks),
              header: (name) => headerValues(response.rawHeaders, name.toLowerCase())[0] ?? '',
            }),
          );
        });
        asked.end(body);
      }),
    close: () => agent.destroy(),
  };
}
