import { join } from 'node:path';
import { loadUpstreamCa } from '../../app/pem-files.ts';
import type { Confirm } from '../../cli/terminal.ts';
import { mayTakeFound } from './found-registry.ts';
import { answersLikeRegistry } from './registry-probe.ts';
import { findRegistryStarter, type FoundRegistry, type RegistryStarterOptions } from './registry-starter.ts';

const probeTimeoutMs = 3000;

export type FindUpstreamOptions = RegistryStarterOptions & {
  /** `upstream` of the configuration. */
  readonly configured: { readonly url: string; readonly ca: string | null; readonly storage: string | null };
  /** Whether the operator has set `upstream.url`; for a registry at its default, `confirm` is asked. */
  readonly isUrlSet: boolean;
  readonly confirm: Confirm;
};

/**
 * Finds the upstream: the one at `upstream.url` if it answers and is configured or confirmed, else one to start. The
 * returned function starts it, if needed.
 * @throws OperatorError when there is none of them.
 */
export async function findUpstream(options: FindUpstreamOptions): Promise<() => Promise<FoundRegistry>> {
  const { configured, preparation, root, confirm } = options;
  const { url, storage } = configured;
  const { answers } = await preparation.step(`Registry at ${url}`, async () => {
    const ca = configured.ca === null ? null : (await loadUpstreamCa(configured.ca)).pem;
    const answers = await answersLikeRegistry(url, ca, probeTimeoutMs);
    return { answers, outcome: answers ? 'answers' : 'none answers there' };
  });
  const mayTake = () => options.isUrlSet || mayTakeFound({ url, varDir: join(root, 'var'), confirm });
  if (answers && (await mayTake())) {
    const stop = () => Promise.resolve();
    const description = 'which was running already';
    return () => Promise.resolve({ url, storage, description, isStarted: false, stop });
  }
  const why = answers ? `the one at ${url} is not used` : `none answers at ${url}`;
  const start = await findRegistryStarter(options, `There is no registry to run in front of: ${why}`);
  return () => start({ name: 'registry', title: 'Registry', proxy: null });
}
