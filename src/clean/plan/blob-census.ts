import type { DigestMemory } from '../scan/digest-memory.ts';
import type { DigestTable } from '../scan/digest-table.ts';
import type { RepositoryScan } from '../scan/scan-types.ts';
import type { RepositoryDecision } from './repository-decision.ts';

/** A blob's data. */
type StoredBlob = { readonly digest: string; readonly bytes: number };

const storedBit = 1;
const oldBit = 2;
const linkedBit = 4;
const linkedTwiceBit = 8;
const keptBit = 16;
const batchSize = 5000;
/** Of flags, bytes and linkedBy. */
const bytesEach = 13;

/**
 * Counts which data the repositories link, over all of them. It takes some 60 bytes for each digest, most of them outside
 * of the JavaScript heap. Call it in this order: addStored, addRepository, settle, exempt.
 */
export class BlobCensus {
  readonly #memory: DigestMemory;
  readonly #digests: DigestTable;
  /** By the digest's number. */
  #flags = new Uint8Array(1024);
  #bytes = new Float64Array(1024);
  /** The last repository that links it, from 1. */
  #linkedBy = new Uint32Array(1024);
  #repositories = 0;
  #goes = new Uint32Array(0);
  stored = { blobs: 0, bytes: 0 };
  free = { blobs: 0, bytes: 0 };

  constructor(memory: DigestMemory, digests: DigestTable) {
    this.#memory = memory;
    this.#digests = digests;
  }

  /** Adds what is on disk. */
  addStored({ digest, bytes }: StoredBlob, isOld: boolean): void {
    const number = this.#number(digest);
    this.#bytes[number] = bytes;
    this.#flags[number] = (this.#flags[number] ?? 0) | storedBit | (isOld ? oldBit : 0);
    this.stored.blobs += 1;
    this.stored.bytes += bytes;
  }

  /** Whether data was old enough to go when it was added; null: there was none. */
  isOld(digest: string): boolean | null {
    const number = this.#digests.numberOf(digest);
    const flags = number === null ? 0 : (this.#flags[number] ?? 0);
    return (flags & storedBit) === 0 ? null : (flags & oldBit) !== 0;
  }

  addRepository({ manifests, layers }: RepositoryScan, decision: RepositoryDecision): void {
    this.#repositories += 1;
    let gone = 0;
    // Those that go are in the same order.
    for (const layer of layers) {
      const goes = decision.links[gone] === layer;
      if (goes) gone += 1;
      this.#link(layer.digest, !goes);
    }
    for (const [index, { digest, content }] of manifests.entries()) {
      const stays = decision.manifests[index]?.goes !== true;
      this.#link(digest, stays);
      // What is named stays, even if nothing links it.
      if (stays) for (const named of content?.named ?? []) this.#keep(named);
    }
    for (const { tag, goes } of decision.tags) if (!goes && tag.digest !== null) this.#keep(tag.digest);
  }

  /** The number of a digest, to remember many of them in little memory. */
  numberOf(digest: string): number {
    return this.#number(digest);
  }

  /** Finds out what nothing keeps. `mayGo`: whether all links are known. */
  settle(mayGo: boolean): void {
    const goes = new Uint32Array(mayGo ? this.#digests.size : 0);
    let count = 0;
    for (let number = 0; number < goes.length; number += 1) {
      const flags = this.#flags[number] ?? 0;
      if ((flags & (storedBit | oldBit | keptBit)) !== (storedBit | oldBit)) continue;
      if (!this.#digests.isSha256(number)) continue; // no run takes it
      goes[count++] = number;
      this.free.blobs += 1;
      this.free.bytes += this.#bytes[number] ?? 0;
    }
    this.#goes = goes.slice(0, count);
  }

  /** Takes out of what goes all that this finds. */
  async exempt(find: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> {
    const all = this.#goes;
    let count = 0;
    for (let at = 0; at < all.length; at += batchSize) {
      const batch = all.slice(at, at + batchSize);
      const digests = Array.from(batch, (number) => this.#digests.digestOf(number));
      const exempt = await find(digests);
      for (const [index, number] of batch.entries()) {
        if (!exempt.has(digests[index] ?? '')) all[count++] = number;
        else {
          this.free.blobs -= 1;
          this.free.bytes -= this.#bytes[number] ?? 0;
        }
      }
    }
    this.#goes = all.subarray(0, count);
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

  #link(digest: string, isKept: boolean): void {
    const number = this.#number(digest);
    let flags = (this.#flags[number] ?? 0) | (isKept ? keptBit : 0);
    if (this.#linkedBy[number] !== this.#repositories)
      flags |= flags & linkedBit ? linkedTwiceBit : linkedBit;
    this.#flags[number] = flags;
    this.#linkedBy[number] = this.#repositories;
  }

  #keep(digest: string): void {
    const number = this.#number(digest);
    this.#flags[number] = (this.#flags[number] ?? 0) | keptBit;
  }

  #number(digest: string): number {
    const number = this.#digests.add(digest);
    if (number >= this.#flags.length) this.#grow(Math.ceil(number * 1.25) + 1);
    return number;
  }

  #grow(length: number): void {
    this.#memory.take((length - this.#flags.length) * bytesEach);
    const [flags, bytes, linkedBy] = [this.#flags, this.#bytes, this.#linkedBy];
    this.#flags = new Uint8Array(length);
    this.#flags.set(flags);
    this.#bytes = new Float64Array(length);
    this.#bytes.set(bytes);
    this.#linkedBy = new Uint32Array(length);
    this.#linkedBy.set(linkedBy);
  }
}
