import { skipAll, type Check } from '../check.ts';
import type { ClientOptions, Found, Need } from './client-check.ts';
import { listConnectionChecks } from './connection/connection-checks.ts';
import { listRegistryChecks } from './registry-checks.ts';

/** The checks as a client, in order. A check is skipped if an earlier one did not provide what it requires. */
export function createClientChecks(options: ClientOptions): Check[] {
  const found: Found = { isVerified: false };
  const checks = [...listConnectionChecks(options, found), ...listRegistryChecks(options)];
  return checks.map(({ ids, limitMs, fix, needs, run }) => ({
    ids,
    limitMs,
    fix,
    run: async (signal) => {
      const reason = findGap(needs, found, options);
      // What it requires exists now; the rest is not touched.
      return reason === null ? run(found as Required<Found>, signal) : skipAll(ids, ...reason);
    },
  }));
}

/** Why a check must be skipped, and what would help; null if it can run. */
function findGap(
  needs: Need,
  { address, handshake, send, isVerified }: Found,
  { login }: ClientOptions,
): readonly [string, string?] | null {
  if (needs === 'nothing') return null;
  if (address === undefined) return ['No address could be reached.'];
  if (needs === 'address') return null;
  if (handshake === undefined) return ['There is no TLS connection.'];
  if (needs === 'tls') return null;
  if (send === undefined) return ['HTTPS requests are not answered.'];
  if (needs === 'http') return null;
  if (login === null) return ['It needs a user.', 'add --user NAME'];
  return isVerified ? null : ['No password is sent to a server whose certificate is not verified.'];
}
