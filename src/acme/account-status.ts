import { createAcmeClient } from './acme-client.ts';
import { openAcmeFiles, readStoredKey } from './acme-files.ts';
import { loadAcmeCa, nameAccount } from './keeper.ts';

export type AccountStatus =
  | { readonly kind: 'none' }
  | { readonly kind: 'known'; readonly status: string }
  | { readonly kind: 'failed'; readonly text: string };

/** Asks the CA how the account in a folder fares; changes nothing there. */
export async function askAccount({
  folder,
  directory,
  ca,
  keyId,
  signal,
}: {
  readonly folder: string;
  readonly directory: string;
  readonly ca: string | null;
  /** Of the external account; null: none. */
  readonly keyId: string | null;
  readonly signal: AbortSignal;
}): Promise<AccountStatus> {
  const stored = await openAcmeFiles(folder, nameAccount(directory, keyId)).account();
  const key = stored === null ? null : readStoredKey(stored.key);
  if (key === null || stored?.url == null) return { kind: 'none' };
  try {
    const pem = ca === null ? null : (await loadAcmeCa(ca)).pem;
    const client = createAcmeClient({ directoryUrl: directory, ca: pem, signal, now: Date.now });
    try {
      return { kind: 'known', status: await client.updateAccount({ key, url: stored.url }, null) };
    } finally {
      client.close();
    }
  } catch (error) {
    return { kind: 'failed', text: (error as Error).message };
  }
}
