import type { Config } from '../config/schema/schema.ts';
import { createLeases, type Leases } from '../leases/leases.ts';
import { createTakenManifests, type TakenManifests } from '../leases/taken-manifests.ts';

/** What the clean-up of a registry's storage must know of the requests to it. */
export type InUse = {
  /** The registry's folder. */
  readonly storage: string;
  readonly leases: Leases;
  readonly taken: TakenManifests;
};

/**
 * Opens it, or goes on with that of the service before.
 * @returns null: nothing is cleaned up there
 */
export function openInUse({ upstream: { storage } }: Config, last: InUse | null): InUse | null {
  if (storage === null) return null;
  if (last?.storage === storage) return last;
  return {
    storage,
    leases: createLeases({ now: () => performance.now(), wallClock: () => Date.now() }),
    taken: createTakenManifests(storage),
  };
}
