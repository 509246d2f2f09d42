import { createInventoryReader, type ReadInventory } from '../../inventory/reading/registry-reader.ts';
import { manifestTypes } from '../../pipeline/serve/internal-request.ts';
import type { ListedRegistry } from '../../pipeline/routes/listed-registries.ts';
import { buildFetchHeaders } from '../../upstream/request.ts';
import type { OpenRegistry } from './open-registry.ts';

type Asked = Pick<ListedRegistry, 'requestUpstream' | 'authorization' | 'isMirror' | 'owns' | 'outerName'>;

/**
 * Reads what the registries have with Tidegate's own credentials, through the guards of its own requests: a delete waits
 * for them, and a tag that was deleted is not seen.
 * @param listed all of them, by routes; null: there are no routes
 */
export function readRegistries(
  upstream: Pick<OpenRegistry, 'requestUpstream' | 'authorization'>,
  listed: readonly ListedRegistry[] | null,
): ReadInventory {
  const { requestUpstream, authorization } = upstream;
  const only: Asked = {
    ...{ requestUpstream, authorization, isMirror: false },
    owns: () => true,
    outerName: (inner) => inner,
  };
  const all: readonly Asked[] = listed ?? [only];
  return createInventoryReader((signal) =>
    all.map((registry) => ({
      isMirror: registry.isMirror,
      owns: registry.owns,
      outerName: registry.outerName,
      ask: (method, rawTarget, maxBytes) => {
        const headers = buildFetchHeaders({ host: null, accept: [manifestTypes] }, registry.authorization);
        return registry.requestUpstream({ method, rawTarget, headers }, { maxBytes, signal });
      },
    })),
  );
}
