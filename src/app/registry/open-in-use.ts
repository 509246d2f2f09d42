import type { Config } from '../../config/schema/schema.ts';
import { isCleaned } from '../../config/schema/is-cleaned.ts';
import { createLeases, type Leases } from '../../leases/leases.ts';
import { createTakenManifests, type TakenManifests } from '../../leases/taken-manifests.ts';

/** What the clean-up of a registry's storage must know of the requests to it. */
export type InUse = {
  /** The registry's folder; null: its own collector cleans it up. */
  readonly storage: string | null;
  readonly leases: Leases;
  readonly taken: TakenManifests;
};

/**
 * Opens it, or goes on with that of the service before.
 * @returns null: nothing is cleaned up there
 */
export function openInUse(config: Config, last: InUse | null): InUse | null {
  if (!isCleaned(config)) return null;
  const { storage } = config.upstream;
  if (last?.storage === storage) return last;
  return {
    storage,
    leases: createLeases({ now: () => performance.now(), wallClock: () => Date.now() }),
    taken: createTakenManifests(storage),
  };
}
