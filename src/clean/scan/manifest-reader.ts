import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { readManifestContent } from '../../registry/manifest-content.ts';
import { DigestMemory } from './digest-memory.ts';
import { DigestTable } from './digest-table.ts';
import { OperatorError } from '../../system/operator-error.ts';
import { readStatus } from './file-status.ts';
import type { StoredContent } from './scan-types.ts';
import { dataFolder } from './storage-paths.ts';
import { sayUnreadable } from './stored-links.ts';

/** A manifest's data. */
export type StoredManifest = {
  /** Null: the data is missing. */
  readonly bytes: number | null;
  readonly mtimeMs: number | null;
  readonly content: StoredContent | null;
  /** Why there is no content. */
  readonly fault: ContentFault | null;
};

export type ContentFault = {
  /** Whether the data is intact, but cannot be a manifest: no registry takes manifests so large, or of that form. */
  readonly isOtherData: boolean;
  readonly why: string;
};

/** Registries take manifests of up to 4 MiB; older ones had no limit. */
const maxBytes = 16 * 1024 * 1024;
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
/** Marks a digest in the log that is also one of `manifests`. Numbers of digests are smaller. */
const isManifestBit = 2 ** 30;
const noSubject = 2 ** 31;

/**
 * Reads manifests, each digest's bytes once. The bytes must have the digest, so what they name never changes. It is
 * kept outside of the JavaScript heap: the digests' numbers, one after the other.
 */
export class ManifestReader {
  readonly #root: string;
  readonly #digests: DigestTable;
  /** Bounds all that is read with it. */
  readonly memory: DigestMemory;
  /** By the digest's number: the place in the log + 1; 0: not read. */
  #places = new Uint32Array(1024);
  /** For each manifest: bytes, subject, count, then what it names. */
  #log = new Uint32Array(4096);
  #logged = 0;
  #buffer = Buffer.allocUnsafeSlow(64 * 1024);

  /**
   * @param root the registry's root directory
   * @param digests numbers those that are named, under the same bound; it may have others as well
   */
  constructor(
    root: string,
    { memory = new DigestMemory(), digests }: { memory?: DigestMemory; digests?: DigestTable } = {},
  ) {
    this.#root = root;
    this.memory = memory;
    this.#digests = digests ?? new DigestTable(memory);
  }

  read(digest: string): StoredManifest {
    const path = `${dataFolder(this.#root, digest)}/data`;
    let bytes: number | null = null;
    let mtimeMs: number | null = null;
    const faulty = (why: string, isOtherData = false): StoredManifest => ({
      bytes,
      mtimeMs,
      content: null,
      fault: { isOtherData, why },
    });
    try {
      const status = readStatus(path);
      if (status === null) return faulty('has no data');
      ({ size: bytes, mtimeMs } = status);
      if (!status.isFile()) return faulty('is not a regular file');
      if (bytes > maxBytes) return faulty('is too large for a manifest', true);
      const known = this.#recall(digest, bytes);
      if (known !== null) return { bytes, mtimeMs, content: known, fault: null };
      const body = this.#readData(path, bytes);
      if (!hasDigest(body, digest)) return faulty('does not have the bytes of its digest');
      const content = readContent(body);
      if (content === null) return faulty('is no JSON object', true);
      this.#remember(digest, bytes, content);
      return { bytes, mtimeMs, content, fault: null };
    } catch (error) {
      if (error instanceof OperatorError) throw error;
      return faulty(sayUnreadable(error));
    }
  }

  #readData(path: string, bytes: number): Buffer {
    if (this.#buffer.length < bytes) this.#buffer = Buffer.allocUnsafeSlow(bytes);
    const fd = openSync(path, openFlags);
    try {
      let length = 0;
      while (length < bytes) {
        const read = readSync(fd, this.#buffer, length, bytes - length, length);
        if (read === 0) break;
        length += read;
      }
      return this.#buffer.subarray(0, length);
    } finally {
      closeSync(fd);
    }
  }

  #recall(digest: string, bytes: number): StoredContent | null {
    const number = this.#digests.numberOf(digest);
    const place = number === null ? 0 : (this.#places[number] ?? 0);
    if (place === 0) return null;
    const [sizeBytes, subject = 0, count = 0] = this.#log.subarray(place - 1, place + 2);
    if (sizeBytes !== bytes) return null;
    const named: string[] = [];
    const manifests: string[] = [];
    for (const word of this.#log.subarray(place + 2, place + 2 + count)) {
      const text = this.#digests.digestOf(word & ~isManifestBit);
      named.push(text);
      if ((word & isManifestBit) !== 0) manifests.push(text);
    }
    return { named, manifests, subject: subject === noSubject ? null : this.#digests.digestOf(subject) };
  }

  #remember(digest: string, bytes: number, { named, manifests, subject }: StoredContent): void {
    const length = 3 + named.length;
    if (this.#logged + length > this.#log.length) this.#log = this.#grown(this.#log, this.#logged + length);
    const place = this.#logged;
    this.#log.set([bytes, subject === null ? noSubject : this.#digests.add(subject), named.length], place);
    const asManifests = new Set(manifests);
    let at = place + 3;
    for (const text of named)
      this.#log[at++] = this.#digests.add(text) | (asManifests.has(text) ? isManifestBit : 0);
    this.#logged = at;
    const number = this.#digests.add(digest);
    if (number >= this.#places.length) this.#places = this.#grown(this.#places, number + 1);
    this.#places[number] = place + 1;
  }

  #grown(array: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
    const size = Math.ceil(Math.max(array.length * 1.5, length));
    this.memory.take((size - array.length) * 4);
    const larger = new Uint32Array(size);
    larger.set(array);
    return larger;
  }
}

function hasDigest(body: Buffer, digest: string): boolean {
  const colon = digest.indexOf(':');
  return createHash(digest.slice(0, colon)).update(body).digest('hex') === digest.slice(colon + 1);
}

/** Null: no JSON object, so no manifest of a known kind. */
function readContent(body: Buffer): StoredContent | null {
  const { named, manifests } = readManifestContent(body);
  if (named.length > 0) return { named, manifests, subject: readSubject(body) };
  const value = parseObject(body);
  return value === null ? null : { named, manifests, subject: null };
}

/** The digest of the field `subject`; in any case, since Go's parser takes it so. */
function readSubject(body: Buffer): string | null {
  if (!body.includes('ubject') && !/subject|\\u/i.test(body.toString('latin1'))) return null;
  const subject = fieldOf(parseObject(body), 'subject');
  const digest = fieldOf(subject, 'digest');
  return typeof digest === 'string' && digest.includes(':') ? digest.toLowerCase() : null;
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  return fields[name] ?? Object.entries(fields).findLast(([key]) => key.toLowerCase() === name)?.[1];
}

function parseObject(body: Buffer): object | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
