import type { Config } from '../../config/schema/schema.ts';
import type { Check } from '../check.ts';
import { describeFailure } from '../failure.ts';
import { broken, ok, quoteForeign, skipped, warning, type Finding } from '../finding.ts';
import { createSender, type HttpAnswer } from '../client/http-sender.ts';
import { findExposure, type Exposure } from './listening-sockets.ts';
import { isLoopback } from './loopback.ts';
import { reachableAddress } from '../client/target.ts';

const ids = ['admin.ready', 'admin.exposed'] as const;

/** The address of the admin listener; port 0 is any. */
export type AdminPlace = { readonly host: string; readonly port: number };

/** Finds the configured admin listener; null without one. */
export function findAdmin({ admin: { host, port } }: Config): AdminPlace | null {
  return port === null ? null : { host, port };
}

/** The checks of the listener for probes and metrics. */
export function createAdminChecks(admin: AdminPlace | null): Check[] {
  return [
    {
      ids: [...ids],
      limitMs: 8000,
      fix: 'systemctl status tidegate',
      run: async (signal) => {
        if (admin === null || admin.port === 0) {
          return [skipped(ids[0], 'There is no admin listener with a known port in the configuration.')];
        }
        const address = reachableAddress(admin.host);
        const authority = `${address.includes(':') ? `[${address}]` : address}:${admin.port}`;
        const send = createSender({ address, port: admin.port, authority, tls: null });
        let answer: HttpAnswer | string;
        try {
          answer = await send({ method: 'GET', path: '/readyz', limitMs: 4000 }, signal);
        } catch (error) {
          answer = describeFailure(error);
        }
        const isAdmin = typeof answer !== 'string' && (answer.status === 200 || answer.status === 503);
        return [
          judgeReady(admin, answer),
          isAdmin
            ? judgeAdminExposure(admin, await findExposure(admin.port, signal))
            : skipped(ids[1], 'The admin listener does not answer here.'),
        ];
      },
    },
  ];
}

/** Judges the answer of /readyz; a text is the reason why there is none. */
export function judgeReady(
  { host, port }: AdminPlace,
  answer: Pick<HttpAnswer, 'status' | 'body'> | string,
): Finding {
  const check = 'admin.ready';
  if (typeof answer === 'string') {
    return warning(
      check,
      `The admin listener on ${host}, port ${port}, does not answer: ${answer}.`,
      'is tidegate running, and the port free? journalctl -u tidegate; or admin.port: null for none',
    );
  }
  const said = quoteForeign(answer.body.toString());
  if (answer.status === 200) return ok(check, 'Tidegate says that it is ready (/readyz).');
  if (answer.status === 503) {
    return broken(
      check,
      `Tidegate says that it is not ready: ${said}.`,
      'fix what it names; journalctl -u tidegate',
    );
  }
  return warning(
    check,
    `What answers on port ${port} is not the admin listener (${answer.status}).`,
    'another program has the port: choose another admin.port',
  );
}

/** Judges from where the admin listener can be reached. */
export function judgeAdminExposure({ host, port }: AdminPlace, { bound, reached }: Exposure): Finding {
  const check = 'admin.exposed';
  const isMeant = !isLoopback(host) && host !== 'localhost';
  const wide = (bound ?? []).filter((address) => !isLoopback(address));
  if (reached.length === 0 && wide.length === 0) {
    return ok(check, 'The admin listener cannot be reached from other machines.');
  }
  const where = (reached.length > 0 ? reached : wide).join(', ');
  if (isMeant) {
    return warning(
      check,
      `The admin listener can be reached at ${where}, and has no password.`,
      `let only the monitoring reach port ${port} (firewall, NetworkPolicy), or admin.host: 127.0.0.1`,
    );
  }
  return broken(
    check,
    `Port ${port} of the admin listener is open at ${where}, though admin.host is ${host}.`,
    'find what forwards it or listens there: ss -ltnp',
  );
}
