import { toForeignText } from '../foreign-text.ts';
import type { RawManifestModel } from '../models.ts';
import { readManifest } from './read-manifest.ts';
import type { RegistryClient } from '../registry-client.ts';

/** What is shown of a manifest's text. */
const maxShownBytes = 128 * 1024;
/** No manifest has so many. Each line is indented by all around it, so that of 100 KB in thousands hundreds of MB would be made. */
const maxLevels = 16;

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
    if (!isWithin(maxLevels, value)) return text;
    // Not the same: a field that comes twice, a number that JavaScript cannot hold, spaces.
    return JSON.stringify(value) === text ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

/** Whether there are at most so many levels of lists and objects. */
function isWithin(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((each) => isWithin(levels - 1, each));
}
