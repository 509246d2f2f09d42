import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { unlessPossible } from './requirement.ts';

/**
 * A network with the registry's name in it, an /etc to put the CA in, and a /run and an /opt for what engines leave
 * there, seen by nobody else on the machine.
 *
 * Docker never verifies a registry on loopback. Here the registry has an address that is not loopback, so it does.
 * All of it, processes included, is gone when {@link EngineNamespace.close} or the end of the test closes a pipe.
 */
export type EngineNamespace = {
  /** The registry's name, for port 443. */
  readonly host: string;
  readonly address: string;
  /** The prefix of a command that runs with this network, and all else as outside. */
  readonly networkOnly: readonly string[];
  /** The prefix of a command that runs with this network and these folders, and ends with them. */
  readonly inside: readonly string[];
  /** Puts the CA where Docker looks for it, or removes it. */
  trust(ca: string | null): Promise<void>;
  /** Makes the next {@link EngineNamespace.trust} put a client certificate beside the CA, or none. */
  show(pair: { cert: string; key: string } | null): void;
  close(): Promise<void>;
};

const host = 'registry.test'; // RFC 6761: never a real name
const address = '192.0.2.1'; // RFC 5737: never a real address

const setUp = `set -e
ip link set lo up
ip address add ${address}/32 dev lo
mount -t tmpfs -o mode=755 tmpfs /mnt
cp -a /etc/. /mnt/
echo '${address} ${host}' >> /mnt/hosts
mkdir -p /mnt/docker
mount --bind /mnt /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /opt
echo ready
exec cat`;
const unshareArgs = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** For a test's `skip`, as in requirement.ts: namespaces need root, and a container may forbid them even to root. */
export function unlessNamespaces(): string | false {
  const tried = spawnSync('unshare', [...unshareArgs, 'sh', '-c', setUp], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return unlessPossible(tried.status === 0, 'root, and a system that lets it make namespaces and mounts');
}

export async function openEngineNamespace(): Promise<EngineNamespace> {
  const holder = spawn('unshare', [...unshareArgs, 'sh', '-c', setUp], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = once(holder, 'close');
  await Promise.race([
    once(holder.stdout, 'data'),
    gone.then(() => {
      throw new Error('the namespace could not be set up');
    }),
  ]);
  const namespaces = `/proc/${holder.pid ?? 0}/ns`;
  const certsDir = `/proc/${holder.pid ?? 0}/root/etc/docker/certs.d`;
  const net = `--net=${namespaces}/net`;
  let shown: { cert: string; key: string } | null = null;
  return {
    host,
    address,
    networkOnly: ['nsenter', net],
    inside: ['nsenter', net, `--mount=${namespaces}/mnt`, `--pid=${namespaces}/pid_for_children`],
    trust: async (ca) => {
      await rm(certsDir, { recursive: true, force: true });
      if (ca === null) return;
      await mkdir(path.join(certsDir, host), { recursive: true });
      await writeFile(path.join(certsDir, host, 'ca.crt'), ca);
      if (shown === null) return;
      await writeFile(path.join(certsDir, host, 'client.cert'), shown.cert);
      await writeFile(path.join(certsDir, host, 'client.key'), shown.key, { mode: 0o600 });
    },
    show: (pair) => (shown = pair),
    close: async () => {
      holder.stdin.end();
      await gone;
    },
  };
}
