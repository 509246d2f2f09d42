import { rmSync } from 'node:fs';
import { cp, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run, tidegate } from './processes.ts';

const made = new Map<string, Promise<string>>();

/** Runs `cert create` for these names, once a process: RSA keys take seconds. The files are copied to a new folder. */
export async function copyCertificate(to: string, hosts: readonly string[]): Promise<void> {
  const key = hosts.join(',');
  const files = made.get(key) ?? createCertificate(key);
  made.set(key, files);
  await cp(await files, to, { recursive: true });
}

async function createCertificate(hosts: string): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-certs-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  const args = ['cert', 'create', '--host', hosts, '--ip', '127.0.0.1,::1', '--out', dir];
  const { code, stderr } = await tidegate(args);
  if (code !== 0) throw new Error(`cert create failed: ${stderr}`);
  return dir;
}

/** A certificate for clients by the CA in this folder, as an operator makes one with OpenSSL. */
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
