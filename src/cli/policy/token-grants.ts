import { loadTokenList } from '../../auth/machine-tokens/token-list-file.ts';
import type { Config } from '../../config/schema/schema.ts';
import type { TokenGrants } from '../../policy/policy-query.ts';
import { checkGrantPattern } from '../../policy/token-grants.ts';

/** What the machine tokens of the configuration are bounded by, by name; null where their file cannot be read. */
export async function readTokenGrants({ auth }: Pick<Config, 'auth'>): Promise<TokenGrants | null> {
  try {
    const { list } = await loadTokenList(auth.machineTokens, checkGrantPattern);
    return new Map([...list.entries].map(([name, { principal }]) => [name, principal.grant]));
  } catch {
    return null;
  }
}
