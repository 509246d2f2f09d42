import path from 'node:path';
import type { Config } from './schema.ts';

/** The folder of a certificate that Tidegate orders; null: it is the operator's own. */
export function findAcmeFolder({ tls, state }: Pick<Config, 'tls' | 'state'>): string | null {
  if (tls.acme.hosts.length === 0) return null;
  return tls.acme.dir ?? path.join(state.dir, 'acme');
}
