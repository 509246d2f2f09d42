import { setTimeout as pause } from 'node:timers/promises';
import { basic } from '../../support/front-door.ts';
import { createLoadClient } from './load-client.ts';

/** A client that a trouble is none of: it pulls again and again, over a connection that it keeps. */
export type Bystander = {
  /** Resolves when it has pulled so often more; rejects when it has noticed anything since the last time. Gives how often. */
  assertUndisturbed(pulls?: number): Promise<number>;
  stop(): Promise<void>;
};

/** No answer for so long is taken for none, in milliseconds: this machine is busy with other things too. */
const hangMs = 8000;

/** @param wanted what must come whole, by target and digest */
export function startBystander(
  frontDoor: { readonly port: number; readonly ca: string },
  wanted: ReadonlyMap<string, string>,
): Bystander {
  const client = createLoadClient(frontDoor);
  const state = { running: true };
  let done = 0;
  let noticed: string[] = [];
  const pull = async (target: string, digest: string) => {
    const late = new AbortController();
    const silence = pause(hangMs, 'silence' as const, { signal: late.signal }).catch(
      () => 'silence' as const,
    );
    const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json' };
    const answer = await Promise.race([
      client
        .ask({ method: 'GET', target, authorization: basic, headers })
        .catch((error: unknown) => String(error)),
      silence,
    ]);
    late.abort();
    if (typeof answer === 'string') noticed.push(`${target}: ${answer}`);
    else if (answer.status !== 200 || answer.digest !== digest)
      noticed.push(`${target}: ${answer.status} ${answer.body.toString().slice(0, 200)}`);
  };
  const loop = (async () => {
    while (state.running) {
      for (const [target, digest] of wanted) await pull(target, digest);
      done += 1;
      await pause(20);
    }
  })();
  return {
    assertUndisturbed: async (pulls = 3) => {
      const enough = done + pulls;
      while (done < enough) await pause(5);
      const found = noticed;
      noticed = [];
      if (found.length > 0)
        throw new Error(`a bystander noticed ${found.length} times: ${found.slice(0, 3).join('; ')}`);
      return done;
    },
    stop: async () => {
      state.running = false;
      await loop;
      client.close();
    },
  };
}
