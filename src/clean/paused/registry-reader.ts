import { headerValues } from '../../http/raw-headers.ts';
import { catalogPath, parseCatalogPage } from '../../registry/lists/catalog.ts';
import { readManifestContent, type ManifestContent } from '../../registry/manifest-content.ts';
import { OperatorError } from '../../system/operator-error.ts';
import type { Doors } from '../channel/doors.ts';
import type { DoorResponse } from '../channel/messages.ts';

/** Reads what a registry has through its front doors. @throws OperatorError when it does not tell */
export type RegistryReader = {
  repositories(): AsyncIterable<string>;
  tags(repository: string): Promise<readonly string[]>;
  /** Null: there is none. */
  manifest(repository: string, reference: string): Promise<ReadManifest | null>;
};

export type ReadManifest = ManifestContent & {
  readonly digest: string;
  /** The digest of the manifest that this one belongs to. */
  readonly subject: string | null;
};

const listBytes = 8 * 1024 * 1024;
const manifestBytes = 4 * 1024 * 1024;
const accept = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  '*/*',
].join(', ');

export function createRegistryReader(doors: Pick<Doors, 'request'>): RegistryReader {
  const get = (rawTarget: string, maxBytes: number, headers: Record<string, string> = {}) =>
    doors.request({ method: 'GET', rawTarget, headers, maxBytes });

  return {
    repositories: async function* () {
      for (let query: string | null = 'n=1000'; query !== null;) {
        const answer = await get(`${catalogPath}?${query}`, listBytes);
        if (answer.status !== 200) throw refused(catalogPath, answer);
        const page = readAnswer(catalogPath, () => parseCatalogPage(answer.rawHeaders, bodyOf(answer)));
        yield* page.names;
        query = page.next;
      }
    },
    tags: async (repository) => {
      const path = `/v2/${repository}/tags/list`;
      const tags: string[] = [];
      for (let query: string | null = ''; query !== null;) {
        const answer = await get(`${path}${query}`, listBytes);
        if (answer.status === 404) return [];
        if (answer.status !== 200) throw refused(path, answer);
        for (const tag of readAnswer(path, () => parseTags(bodyOf(answer)))) tags.push(tag);
        query = nextQuery(answer);
      }
      return tags;
    },
    manifest: async (repository, reference) => {
      const path = `/v2/${repository}/manifests/${reference}`;
      const answer = await get(path, manifestBytes, { Accept: accept });
      if (answer.status === 404) return null;
      const [digest] = headerValues(answer.rawHeaders, 'docker-content-digest');
      if (answer.status !== 200 || digest === undefined) throw refused(path, answer);
      const body = bodyOf(answer);
      return { digest, ...readManifestContent(body), subject: readSubject(body) };
    },
  };
}

const bodyOf = ({ bodyBase64 }: DoorResponse) => Buffer.from(bodyBase64, 'base64');

function refused(path: string, { status }: DoorResponse): OperatorError {
  return new OperatorError(`The registry answers ${status} for ${path}: nothing more is taken.`);
}

function readAnswer<Value>(path: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw new OperatorError(
      `The registry's answer for ${path} cannot be read: ${(error as Error).message}.`,
      { cause: error },
    );
  }
}

function parseTags(body: Buffer): string[] {
  const { tags } = JSON.parse(body.toString()) as { tags?: unknown };
  if (tags === null) return [];
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string'))
    throw new RangeError('it has no list of tags');
  return tags;
}

function nextQuery({ rawHeaders }: DoorResponse): string | null {
  const [link = ''] = headerValues(rawHeaders, 'link');
  return /^<[^>?]*(\?[^>]*)>; *rel="?next"?$/.exec(link)?.[1] ?? null;
}

function readSubject(body: Buffer): string | null {
  try {
    const { subject } = JSON.parse(body.toString()) as { subject?: { digest?: unknown } | null };
    return typeof subject?.digest === 'string' ? subject.digest : null;
  } catch {
    return null;
  }
}
