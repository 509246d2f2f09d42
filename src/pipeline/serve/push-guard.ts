import type { Leases } from '../../leases/leases.ts';
import type { TakenManifests } from '../../leases/taken-manifests.ts';
import { readManifestContent } from '../../registry/manifest-content.ts';
import type { Operation } from '../../registry/operation.ts';
import type { Exchange } from '../exchange.ts';
import { createBodyObserver, type ObservedBody } from './body-observer.ts';
import type { GatePass } from './delete-gate.ts';
import { notPutBack, type PutBack } from './put-back.ts';

/** Sees to it that a pushed manifest, and all that it names, stays in the registry's storage beside a clean-up. */
export type GuardPush = (exchange: Exchange, operation: Operation) => GuardedPush | null;

/** A push of a manifest that is being forwarded. */
export type GuardedPush = {
  /** Call it as soon as the request is being forwarded, before its body is read. */
  forwarded(): void;
  /** Enters the gate. Await it before upstream has the last of the body. @throws OciError UNAVAILABLE */
  beforeEnd(pass: GatePass): Promise<void>;
};

export type PushGuardOptions = {
  readonly leases: Pick<Leases, 'note' | 'noteAll'>;
  readonly taken: Pick<TakenManifests, 'mayHave'>;
  readonly putBack: PutBack;
  /** The largest manifest, in bytes. */
  readonly maxManifestBytes: number;
  /** How many bytes of all manifests in progress are kept. */
  readonly maxKeptBytes: number;
};

/** @returns a function that gives null for any other request */
export function createPushGuard(options: PushGuardOptions): GuardPush {
  const { leases, taken, putBack, maxManifestBytes, maxKeptBytes } = options;
  const observe = createBodyObserver({ maxBytes: maxManifestBytes, maxKeptBytes });

  return (exchange, operation) => {
    if (operation.kind !== 'manifest' || operation.method !== 'PUT') return null;
    let observed: ObservedBody | undefined;
    let named: readonly string[] | null = [];
    const note = () => {
      if (named === null) leases.noteAll();
      else for (const digest of named) leases.note(digest);
    };
    return {
      forwarded: () => {
        const body = observe(exchange.req);
        observed = body;
        exchange.res.once('close', () => body.drop());
      },
      beforeEnd: async (pass) => {
        const digest = observed?.digest() ?? '';
        const bytes = observed?.read() ?? null;
        // Once more when it is over, also without an answer: what it names must not be taken by what was read before.
        await pass.enter(digest, note);
        named = bytes && [digest, ...readManifestContent(bytes).named];
        note();
        if (!(await taken.mayHave(digest))) return;
        if (bytes === null) throw notPutBack(new Error('limits.pushedManifestBytes is used up'));
        await putBack(exchange, operation.repository, digest, bytes);
      },
    };
  };
}
