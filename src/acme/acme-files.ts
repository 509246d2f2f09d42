import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { writeFileSet } from '../system/files/file-set.ts';
import { readCertificateList } from '../tls/certificate-list.ts';
import { managedCertificatePath } from '../tls/managed-certificate.ts';
import { loadPemIfAny } from '../tls/pem.ts';
import { readPrivateKey } from '../tls/private-key.ts';

const abandonedMs = 10 * 60_000;
const millis = z.number();

const accountSchema = z.object({
  directory: z.string(),
  key: z.string(),
  /** Null: not known at the CA yet. */
  url: z.string().nullable(),
  contact: z.array(z.string()),
});
const orderSchema = z.object({
  directory: z.string(),
  account: z.string(),
  hosts: z.array(z.string()),
  /** The key of the certificate to come. */
  key: z.string(),
  /** Null: not known at the CA yet. */
  url: z.string().nullable(),
});
const progressSchema = z.object({
  directory: z.string(),
  /** When orders failed, in milliseconds since the epoch: those of the last hour count. */
  failedAtMs: z.array(millis).max(100),
  /** Failed tries in a row. */
  failures: z.number().int().min(0),
  /** Not before then; null: at once. */
  retryAtMs: millis.nullable(),
  /** Whether the CA has said so: then nothing makes it earlier. */
  isRetrySetByCa: z.boolean(),
  lastFailure: z.object({ atMs: millis, text: z.string() }).nullable(),
  /** The certificate that was issued last, when, and by which directory. */
  issued: z.object({ fingerprint: z.string(), directory: z.string(), atMs: millis }).nullable(),
  renewal: z
    .object({
      /** The certificate that this is about. */
      fingerprint: z.string(),
      atMs: millis,
      /** Whether the CA has said so (ARI). */
      isSetByCa: z.boolean(),
      /** When the CA is asked about it again; null: never. */
      askAgainMs: millis.nullable(),
    })
    .nullable(),
});

export type StoredAccount = z.output<typeof accountSchema>;
export type StoredOrder = z.output<typeof orderSchema>;
export type Progress = z.output<typeof progressSchema>;

/** A certificate of the CA with its key. */
export type StoredCertificate = {
  readonly leaf: X509Certificate;
  readonly key: KeyObject;
};

/** The files of ACME in a folder, each written atomically with mode 0600. What cannot be read counts as not there. */
export type AcmeFiles = {
  /** Creates the folder, and removes what a killed process has left. @throws Error of the file system */
  prepare(): Promise<void>;
  account(): Promise<StoredAccount | null>;
  saveAccount(account: StoredAccount): Promise<void>;
  order(): Promise<StoredOrder | null>;
  saveOrder(order: StoredOrder): Promise<void>;
  removeOrder(): Promise<void>;
  progress(): Promise<Progress | null>;
  saveProgress(progress: Progress): Promise<void>;
  certificate(): Promise<StoredCertificate | null>;
  /** Writes key and chain into one file, so that they always belong together. */
  saveCertificate(keyPem: string, chainPem: string): Promise<void>;
};

/** @param account names the account: another CA, or another external account, has a file of its own */
export function openAcmeFiles(folder: string, account: string): AcmeFiles {
  const accountId = createHash('sha256').update(account).digest('hex').slice(0, 16);
  const paths = {
    account: join(folder, `account-${accountId}.json`),
    order: join(folder, 'order.json'),
    progress: join(folder, 'progress.json'),
    certificate: managedCertificatePath(folder),
  };
  const write = (path: string, content: string) =>
    writeFileSet(folder, [{ path, content, mode: 0o600, replace: true }]);
  const writeJson = (path: string, value: object) => write(path, `${JSON.stringify(value, null, 2)}\n`);
  return {
    prepare: async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const left = (await readdir(folder)).filter((name) => /^\..*\.tmp$/.test(name));
      await Promise.all(left.map((name) => removeOld(join(folder, name))));
    },
    account: () => readJson(paths.account, accountSchema),
    saveAccount: (value) => writeJson(paths.account, value),
    order: () => readJson(paths.order, orderSchema),
    saveOrder: (value) => writeJson(paths.order, value),
    removeOrder: () => rm(paths.order, { force: true }),
    progress: () => readJson(paths.progress, progressSchema),
    saveProgress: (value) => writeJson(paths.progress, value),
    certificate: () => readStoredCertificate(paths.certificate),
    saveCertificate: (keyPem, chainPem) => write(paths.certificate, `${keyPem}${chainPem}`),
  };
}

/** Removes a temporary file, unless another instance may still be writing it. */
async function removeOld(path: string): Promise<void> {
  const status = await stat(path).catch(() => null);
  if (status !== null && Date.now() - status.mtimeMs > abandonedMs) await rm(path, { force: true });
}

async function readJson<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S> | null> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}

/** Reads certificate and key of such a file; null: there is none that can be used. */
async function readStoredCertificate(path: string): Promise<StoredCertificate | null> {
  try {
    const text = await loadPemIfAny(path);
    if (text === null) return null;
    const [leaf] = readCertificateList(text, path, { holdsKey: true }).certificates;
    const { key } = readPrivateKey(text, path, { holdsCertificate: true });
    return leaf.checkPrivateKey(key) ? { leaf, key } : null;
  } catch {
    return null;
  }
}

/** Reads a key that {@link StoredAccount} or {@link StoredOrder} holds; null: it cannot be read. */
export function readStoredKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
  }
}
