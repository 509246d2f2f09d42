import { request } from 'node:http';
import type { FrontDoor } from './front-door.ts';

/** Settings for an admin listener on a free port, and frequent probes of upstream. */
export const watched = ['admin.port=0', 'upstream.probeInterval=100ms'];

export type AdminAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

/** A client of Tidegate's admin listener. */
export type Admin = {
  readonly port: number;
  ask(path: string, options?: { method?: string; headers?: Record<string, string> }): Promise<AdminAnswer>;
  /** Returns the metrics by name and labels, as they are written. */
  metrics(): Promise<ReadonlyMap<string, number>>;
};

/** Reads the admin listener's address from the log. */
export async function findAdmin(frontDoor: Pick<FrontDoor, 'logged'>): Promise<Admin> {
  const { port } = await frontDoor.logged(({ msg }) => msg === 'the admin listener is open');
  return createAdmin(port as number);
}

export function createAdmin(port: number): Admin {
  const ask: Admin['ask'] = (path, { method = 'GET', headers = {} } = {}) =>
    new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
      asked.on('error', reject);
      asked.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      });
      asked.end();
    });
  return {
    port,
    ask,
    metrics: async () => {
      const { body } = await ask('/metrics');
      const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      return new Map(
        lines.map((line) => {
          const space = line.lastIndexOf(' ');
          return [line.slice(0, space), Number(line.slice(space + 1))];
        }),
      );
    },
  };
}
