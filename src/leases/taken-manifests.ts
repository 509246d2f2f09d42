import { stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The manifests that the clean-up ever took from the registry's storage. The registry may remember one of them as
 * present, and would then not write a push of it.
 */
export type TakenManifests = {
  /** @param isAll whether these, and those added before, are all */
  add(digests: readonly string[], isAll: boolean): void;
  /** Whether a manifest of this sha256 digest may have been taken: true also when that is not known. */
  mayHave(digest: string): Promise<boolean>;
};

/** Where the clean-up keeps its state, in the registry's folder. */
const stateFolder = 'tidegate-clean';
/** 1 MiB. With a million digests one of 40 others is taken for one of them, and is written once more than it need be. */
const bits = 2 ** 23;
/** How many bits each digest sets, and how many of its hexadecimal digits choose one. */
const bitsPerDigest = 4;
const hexPerBit = 6;

/** @param storage the registry's folder; null: its own collector takes what goes, and it is restarted then */
export function createTakenManifests(storage: string | null): TakenManifests {
  // A Bloom filter: bounded however many there are.
  const words = new Uint32Array(bits / 32);
  let isComplete = false;

  const has = (digest: string): boolean =>
    placesOf(digest)?.every((bit) => ((words[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0) ?? true;

  return {
    add: (digests, isAll) => {
      for (const digest of digests) {
        const places = placesOf(digest);
        // Pushes are known by their sha256 only, so any could be this one.
        if (places === null) words.fill(0xffffffff);
        else for (const bit of places) words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31));
      }
      isComplete ||= isAll;
    },
    mayHave: async (digest) => has(digest) || (!isComplete && !(await isUntouched(storage))),
  };
}

function placesOf(digest: string): number[] | null {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? [];
  if (hex === undefined) return null;
  return Array.from(
    { length: bitsPerDigest },
    (_, i) => parseInt(hex.slice(i * hexPerBit, (i + 1) * hexPerBit), 16) % bits,
  );
}

/** Whether no clean-up has ever run here for sure. */
async function isUntouched(storage: string | null): Promise<boolean> {
  if (storage === null) return true;
  try {
    await stat(storage); // a folder that is not mounted now says nothing
    await stat(join(storage, stateFolder));
    return false;
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' && path === join(storage, stateFolder);
  }
}
