import { isCleaned } from '../../config/schema/is-cleaned.ts';
import type { Config } from '../../config/schema/schema.ts';
import { OperatorError } from '../../system/operator-error.ts';

/** The socket of the cleaner. @throws OperatorError when nothing is cleaned up under this configuration */
export function socketOf(config: Config): string {
  if (isCleaned(config)) return config.clean.socket;
  throw new OperatorError(
    "Set upstream.storage to the registry's folder on this machine, or clean.collector to its own collector: without either there is nothing to clean up.",
  );
}
