import { skipAll, type Check } from '../check.ts';
import type { ClientOptions, Found, Need } from './client-check.ts';
import { listConnectionChecks } from './connection/connection-checks.ts';
import { listRegistryChecks } from './registry-checks.ts';

/** What a client sees, in the order in which it would. Each check that lacks what an earlier one did not find is skipped. */
export function createClientChecks(options: ClientOptions): Check[] {
  const found: Found = { isVerified: false };
  const checks = [...listConnectionChecks(options, found), ...listRegistryChecks(options)];
  return checks.map(({ ids, limitMs, fix, needs, run }) => ({
    ids,
    limitMs,
    fix,
    run: async (signal) => {
      const reason = findGap(needs, found, options);
      // What is needed is there now; the rest is not touched.
      return reason === null ? run(found as Required<Found>, signal) : skipAll(ids, ...reason);
    },
  }));
}

/** Why a check cannot be made, and what would help; null when it can. */
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
