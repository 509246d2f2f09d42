import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { tidegate } from './processes.ts';

export type ClientPair = { readonly cert: string; readonly key: string };

/** Runs `cert client` for this name in a folder of certificates; returns the certificate and key, as PEM. */
export async function createClientPair(dir: string, name: string): Promise<ClientPair> {
  const { code, stderr } = await tidegate(['cert', 'client', name, '--out', dir]);
  if (code !== 0) throw new Error(`cert client failed: ${stderr}`);
  return readPair(dir, name);
}

export async function readPair(dir: string, name: string): Promise<ClientPair> {
  const read = (ending: string) => readFile(path.join(dir, name + ending), 'utf8');
  return { cert: await read('.crt'), key: await read('.key') };
}
