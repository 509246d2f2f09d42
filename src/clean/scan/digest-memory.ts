import { OperatorError } from '../../system/operator-error.ts';

/** What the digests of a storage may take, in bytes. Whoever may push can store manifests that name very many. */
export const defaultDigestMemory = 512 * 1024 * 1024;

/** Counts what digests take, so that a storage that names too many ends a plan or run and not the process. */
export class DigestMemory {
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes `clean.digestMemory` */
  constructor(maxBytes: number = defaultDigestMemory) {
    this.#maxBytes = maxBytes;
  }

  /** Call it before memory is taken that stays. @throws OperatorError when that is too much */
  take(bytes: number): void {
    this.#bytes += bytes;
    this.check(0);
  }

  /** The same for memory that does not stay. */
  check(bytes: number): void {
    if (this.#bytes + bytes <= this.#maxBytes) return;
    throw new OperatorError(
      `The manifests of the storage name so many digests that they take more than ${this.#maxBytes / 1024 ** 2} MiB of memory (clean.digestMemory), so it ends here and nothing is taken. Raise it if the machine has more; else look for manifests that somebody made up: files of some MiB in docker/registry/v2/blobs that begin with "{".`,
    );
  }
}
