import { randomBytes } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import * as z from 'zod';

/** Where a started registry listens and keeps its images, from its own view. */
export type RegistryPlace = {
  readonly address: string;
  readonly rootDirectory: string;
  /** Null: it mirrors nothing. */
  readonly proxy: RegistryProxy | null;
};

/** The registry that another one mirrors, and whose credentials it uses there. */
export type RegistryProxy = {
  readonly url: string;
  readonly credentials: { readonly username: string; readonly password: string } | null;
};

/**
 * Writes the configuration of a started registry (distribution's config.yml), readable by its owner only. The secret,
 * which signs upload sessions, outlives the registry.
 */
export async function writeRegistryConfig(path: string, place: RegistryPlace): Promise<void> {
  const { proxy } = place;
  const config = {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: place.rootDirectory },
      delete: { enabled: true },
      // A mirror removes by itself what is old.
      ...(proxy === null ? { cache: { blobdescriptor: 'inmemory' } } : {}),
    },
    http: {
      addr: place.address,
      secret: (await loadSecret(path)) ?? randomBytes(32).toString('hex'),
    },
    ...(proxy === null ? {} : { proxy: { remoteurl: proxy.url, ...proxy.credentials } }),
  };
  const text = `# Written anew by every npm start; only http.secret is kept.\n${stringify(config)}`;
  await writeFile(path, text, { mode: 0o600 });
  // The mode of writeFile applies only to a new file.
  await chmod(path, 0o600);
}

const earlierConfig = z.object({ http: z.object({ secret: z.string().min(32) }) });

async function loadSecret(path: string): Promise<string | undefined> {
  try {
    return earlierConfig.parse(parse(await readFile(path, 'utf8'))).http.secret;
  } catch {
    return undefined;
  }
}
