import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { cp, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run, tidegate } from './processes.ts';

const made = new Map<string, Promise<string>>();

/** The folder for the certificates of a whole run of `npm test`. Without it, each process has its own folder. */
const sharedDir = process.env['TEST_CERTIFICATES'];

/**
 * Runs `cert create` for these names, once per process or per run of `npm test`: RSA keys take seconds.
 * Copies the files to a new folder.
 */
export async function copyCertificate(to: string, hosts: readonly string[]): Promise<void> {
  const key = hosts.join(',');
  const files = made.get(key) ?? (sharedDir === undefined ? createOwn(key) : findShared(sharedDir, key));
  made.set(key, files);
  await cp(await files, to, { recursive: true });
}

async function createOwn(hosts: string): Promise<string> {
  const dir = await createCertificate(hosts, tmpdir());
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** If two processes create the same certificate at the same time, both use the first one's. */
async function findShared(within: string, hosts: string): Promise<string> {
  const shared = path.join(within, createHash('sha256').update(hosts).digest('hex'));
  if (existsSync(shared)) return shared;
  const dir = await createCertificate(hosts, within);
  await rename(dir, shared).catch(async (error: unknown) => {
    if (!existsSync(shared)) throw error;
    await rm(dir, { recursive: true });
  });
  return shared;
}

async function createCertificate(hosts: string, within: string): Promise<string> {
  const dir = await mkdtemp(path.join(within, 'tidegate-test-certs-'));
  const args = ['cert', 'create', '--host', hosts, '--ip', '127.0.0.1,::1', '--out', dir];
  const { code, stderr } = await tidegate(args);
  if (code !== 0) throw new Error(`cert create failed: ${stderr}`);
  return dir;
}

/** Creates a client certificate of the CA in this folder, as an operator does with OpenSSL. */
export async function createClientPair(dir: string): Promise<{ cert: string; key: string }> {
  const [crt, key] = [path.join(dir, 'client.crt'), path.join(dir, 'client.key')];
  const { code, stderr } = await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=a client'],
    ...['-addext', 'extendedKeyUsage=clientAuth', '-addext', 'basicConstraints=CA:FALSE'],
    ...['-CA', path.join(dir, 'ca.crt'), '-CAkey', path.join(dir, 'ca.key'), '-out', crt, '-keyout', key],
  ]);
  if (code !== 0) throw new Error(`openssl failed: ${stderr}`);
  return { cert: await readFile(crt, 'utf8'), key: await readFile(key, 'utf8') };
}
