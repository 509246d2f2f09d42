import { readdir, realpath, statfs } from 'node:fs/promises';
import { readForeignFile } from '../quarantine/state-file.ts';
import { OperatorError } from '../../system/operator-error.ts';

/** Of a registry's configuration. */
const maxFileBytes = 1024 * 1024;

/** File systems of one machine, by the number that statfs(2) gives: what one process writes the other sees at once. */
const localTypes: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0x2fc12fc1, // ZFS
  0xf2f52010, // F2FS
  0xca451a4e, // bcachefs
  0x3153464a, // JFS
  0x52654973, // ReiserFS
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x794c7630, // overlayfs
]);

/** @throws OperatorError unless the storage is on a file system of this machine */
export async function checkLocal(root: string): Promise<void> {
  const { type } = await statfs(root);
  // Some kernels give it with a sign.
  if (localTypes.has(type >>> 0)) return;
  throw new OperatorError(
    `${root} (upstream.storage) is not on a file system of this machine (type 0x${(type >>> 0).toString(16)}): other machines may write to it unseen. Use clean.collector instead.`,
  );
}

/** @throws OperatorError when two registries of this machine are configured with this storage */
export async function checkSingleRegistry(root: string): Promise<void> {
  const real = await realpath(root);
  const found: string[] = [];
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const command = await readProcessFile(pid, 'cmdline');
    const [program = '', ...args] = command.split('\0');
    if (!/(^|\/)(docker-)?registry$/.test(program) || args[0] !== 'serve') continue;
    const config = await readProcessFile(pid, `root${args[1] ?? ''}`);
    const environment = await readProcessFile(pid, 'environ');
    if ([root, real].some((path) => names(config, path) || names(environment, path))) found.push(pid);
  }
  if (found.length > 1)
    throw new OperatorError(
      `${found.length} registries on this machine are configured with ${root} (processes ${found.join(', ')}): only one may use a storage that is cleaned. Stop the others, or use clean.collector.`,
    );
}

/** Anybody's process may name any file. Empty: it cannot be read. */
async function readProcessFile(pid: string, name: string): Promise<string> {
  return (await readForeignFile(`/proc/${pid}/${name}`, maxFileBytes).catch(() => null)) ?? '';
}

/** Whether a text has this path, and not only one that begins with it. */
function names(text: string, path: string): boolean {
  for (let at = text.indexOf(path); at !== -1; at = text.indexOf(path, at + 1))
    if (!/^\/?[\w.-]/.test(text.slice(at + path.length))) return true;
  return false;
}
