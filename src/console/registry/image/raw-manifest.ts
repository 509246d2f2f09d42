import { toForeignText } from '../foreign-text.ts';
import type { RawManifestModel } from '../models.ts';
import { readManifest } from './read-manifest.ts';
import type { RegistryClient } from '../registry-client.ts';

/** What is shown of a manifest's text. */
const maxShownBytes = 128 * 1024;

/** Reads a manifest as the registry has it; null: there is none. @throws ConsoleError */
export async function readRawManifest(
  client: RegistryClient,
  repository: string,
  reference: string,
): Promise<RawManifestModel | null> {
  const found = await readManifest(client, repository, reference);
  if (found === null) return null;
  const { digest, body, manifest } = found;
  const mediaType = toForeignText(manifest.mediaType);
  const { text, isCut } = toForeignText(layOut(body.toString('utf8')), maxShownBytes);
  return { repository, reference, digest, mediaType, bytes: body.length, text, isCut };
}

/** Indents JSON that stands in one line, as long as that changes nothing else. */
export function layOut(text: string): string {
  if (text.length > maxShownBytes || text.includes('\n')) return text;
  try {
    const value: unknown = JSON.parse(text);
    // Not the same: a field that comes twice, a number that JavaScript cannot hold, spaces.
    return JSON.stringify(value) === text ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}
