import { DigestTable } from '../scan/digest-table.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import type { RepositoryDecision } from './repository-decision.ts';

/** A blob's data. */
type StoredBlob = { readonly digest: string; readonly bytes: number; readonly mtimeMs: number };

const linkedBit = 1;
const linkedTwiceBit = 2;
const keptBit = 4;
const batchSize = 5000;

/**
 * Counts which data the repositories link, over all of them. It takes some 60 bytes for each digest, most of them outside
 * of the JavaScript heap.
 */
export class BlobCensus {
  readonly #digests = new DigestTable();
  /** By the digest's number. */
  #flags = new Uint8Array(1024);
  #bytes = new Float64Array(1024);
  readonly #goes: number[] = [];
  stored = { blobs: 0, bytes: 0 };
  free = { blobs: 0, bytes: 0 };

  addRepository({ manifests, layers }: RepositoryScan, decision: RepositoryDecision): void {
    const own = new Set<number>();
    const gone = new Set(decision.links);
    const note = (digest: string, isKept: boolean) => {
      own.add(this.#number(digest));
      if (isKept) this.#keep(digest);
    };
    for (const layer of layers) note(layer.digest, decision.keepsAll || !gone.has(layer));
    for (const [index, manifest] of manifests.entries())
      note(manifest.digest, decision.manifests[index]?.goes !== true);
    // What is named stays, even if nothing links it.
    for (const [index, { content }] of manifests.entries())
      if (decision.manifests[index]?.goes !== true)
        for (const named of content?.named ?? []) this.#keep(named);
    for (const { tag, goes } of decision.tags) if (!goes && tag.digest !== null) this.#keep(tag.digest);
    for (const number of own) {
      const flags = this.#flags[number] ?? 0;
      this.#flags[number] = flags | (flags & linkedBit ? linkedTwiceBit : linkedBit);
    }
  }

  /** Numbers for digests, to remember many of them in little memory. */
  numbersOf(digests: readonly string[]): Uint32Array {
    return Uint32Array.from(digests, (digest) => this.#number(digest));
  }

  /** Adds what is on disk, after all repositories. `mayGo`: whether it is old enough, and nothing else keeps it. */
  addBlob({ digest, bytes }: StoredBlob, mayGo: boolean): void {
    const number = this.#number(digest);
    this.#bytes[number] = bytes;
    this.stored.blobs += 1;
    this.stored.bytes += bytes;
    const flags = this.#flags[number] ?? 0;
    if (!mayGo || flags & keptBit) return;
    this.#goes.push(number);
    this.free.blobs += 1;
    this.free.bytes += bytes;
  }

  /** Takes out of what goes all that this finds. */
  async exempt(find: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<number> {
    const all = this.#goes.splice(0);
    for (let at = 0; at < all.length; at += batchSize) {
      const batch = all.slice(at, at + batchSize);
      const exempt = await find(batch.map((number) => this.#digests.digestOf(number)));
      for (const number of batch) {
        if (!exempt.has(this.#digests.digestOf(number))) this.#goes.push(number);
        else {
          this.free.blobs -= 1;
          this.free.bytes -= this.#bytes[number] ?? 0;
        }
      }
    }
    return all.length - this.#goes.length;
  }

  /** The bytes of those that a single repository links. */
  sumExclusive(numbers: Uint32Array): number {
    return numbers.reduce(
      (sum, number) => ((this.#flags[number] ?? 0) & linkedTwiceBit ? sum : sum + (this.#bytes[number] ?? 0)),
      0,
    );
  }

  *freeBlobs(): Generator<{ readonly digest: string; readonly bytes: number }> {
    for (const number of this.#goes)
      yield { digest: this.#digests.digestOf(number), bytes: this.#bytes[number] ?? 0 };
  }

  #keep(digest: string): void {
    const number = this.#number(digest);
    this.#flags[number] = (this.#flags[number] ?? 0) | keptBit;
  }

  #number(digest: string): number {
    const number = this.#digests.add(digest);
    if (number >= this.#flags.length) {
      const length = Math.ceil(number * 1.5) + 1;
      const [flags, bytes] = [this.#flags, this.#bytes];
      this.#flags = new Uint8Array(length);
      this.#flags.set(flags);
      this.#bytes = new Float64Array(length);
      this.#bytes.set(bytes);
    }
    return number;
  }
}
