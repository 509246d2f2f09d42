import { setTimeout as wait } from 'node:timers/promises';
import type { Doors } from '../../src/clean/channel/doors.ts';

export type DirectDoors = Pick<Doors, 'check' | 'evidence' | 'request' | 'pause'> & {
  /** `paused` and `resumed`, in their order. */
  readonly said: string[];
  /** When these digests were last answered. */
  readonly leases: Map<string, number>;
  /** Lets the front doors be lost. */
  lose(): void;
};

/** The front doors of a registry without any: requests go to the registry. */
export function createDirectDoors(url: string, graceMs = 0): DirectDoors {
  const said: string[] = [];
  const leases = new Map<string, number>();
  const lost = new AbortController();
  return {
    said,
    leases,
    lose: () => lost.abort(new Error('a front door is silent')),
    check: () => Promise.resolve({ leasesSince: 0, graceMs, doors: [] }),
    evidence: ({ digests = [] }) =>
      Promise.resolve({
        ...{ epoch: '', held: false, leasesSince: 0, writes: [], digestWrites: [], strangers: [] },
        leases: digests.map((digest) => leases.get(digest) ?? 0),
      }),
    request: async ({ method, rawTarget, headers, bodyBase64 }) => {
      const answer = await fetch(`${url}${rawTarget}`, {
        method,
        headers,
        redirect: 'manual',
        ...(bodyBase64 === undefined ? {} : { body: Buffer.from(bodyBase64, 'base64') }),
      });
      const body = Buffer.from(await answer.arrayBuffer());
      return {
        status: answer.status,
        rawHeaders: [...answer.headers].flat(),
        bodyBase64: body.toString('base64'),
      };
    },
    pause: async () => {
      said.push('paused');
      await wait(0);
      return {
        lost: lost.signal,
        resume: () => {
          said.push('resumed');
          return Promise.resolve();
        },
      };
    },
  };
}
