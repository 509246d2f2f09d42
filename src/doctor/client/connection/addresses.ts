import { connect, isIP } from 'node:net';
import { describeFailure } from '../../failure.ts';
import { broken, ok, warning, type Finding } from '../../finding.ts';
import { isLoopback } from '../../operator/loopback.ts';
import type { Target } from '../target.ts';

/** The resolution of Tidegate's name on this machine: addresses, or the failure. */
export type Resolution = { readonly addresses: readonly string[] } | { readonly failure: string };

/** Judges the resolution of a name; the operator's machine may resolve it differently from clients. */
export function judgeResolution({ name, fallbackAddress }: Target, resolution: Resolution): Finding {
  const check = 'dns';
  const host = name.value;
  if (isIP(host) !== 0) return ok(check, `${host} is an address: there is nothing to look up.`);
  if ('failure' in resolution) {
    const wayOut = `add an address record for ${host} in the DNS, or a line "ADDRESS ${host}" to /etc/hosts`;
    return fallbackAddress === null
      ? broken(check, `${host} cannot be looked up: ${resolution.failure}.`, wayOut)
      : warning(
          check,
          `${host} cannot be looked up from this machine (${resolution.failure}); ${fallbackAddress} is asked instead.`,
          wayOut,
        );
  }
  const { addresses } = resolution;
  const shown = `${host} is ${addresses.join(', ')}`;
  const loopback = addresses.filter(isLoopback);
  if (loopback.length === 0 || host === 'localhost') return ok(check, `${shown}.`);
  if (loopback.length < addresses.length) {
    return warning(
      check,
      `${shown}: loopback and other addresses, so clients may use either.`,
      `leave one kind for ${host} in /etc/hosts and in the DNS`,
    );
  }
  return ok(
    check,
    `${shown}, but only on this machine.`,
    `other machines ask the DNS: run tidegate doctor https://${host} on one of them too`,
  );
}

/** Tries to connect to one address; null if that works, else the reason. */
export function tryConnect(host: string, port: number, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const cut = () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }));
    if (signal.aborted) cut();
    signal.addEventListener('abort', cut, { once: true });
    const end = (failure: string | null) => {
      signal.removeEventListener('abort', cut);
      socket.destroy();
      resolve(failure);
    };
    socket.once('connect', () => end(null));
    socket.once('error', (error) => end(describeFailure(error)));
  });
}

/** Judges the attempts to connect: `failures` has each address, with null if it can be reached. */
export function judgePort(port: number, failures: ReadonlyMap<string, string | null>): Finding {
  const check = 'port';
  const reached = [...failures].filter(([, failure]) => failure === null).map(([address]) => address);
  const unreached = [...failures].flatMap(([address, failure]) =>
    failure === null ? [] : [`${address}: ${failure}`],
  );
  if (reached.length === 0) {
    return broken(
      check,
      `Port ${port} cannot be reached (${unreached.join('; ')}).`,
      'systemctl status tidegate; if it runs: is listen.port this port, and does a firewall allow it?',
    );
  }
  if (unreached.length > 0) {
    return warning(
      check,
      `Port ${port} is reached at ${reached.join(', ')} but not at every address (${unreached.join('; ')}).`,
      'listen.host: "::" serves IPv6 and IPv4; or take the address that does not answer out of the DNS',
    );
  }
  return ok(check, `Port ${port} is reached at ${reached.join(', ')}.`);
}
