import { randomFillSync } from 'node:crypto';
import { DigestMemory } from './digest-memory.ts';

/** No storage has more: 2^28 digests alone take 8 GiB. */
const maxSlots = 2 ** 29;
const keyBytes = 32;
const keyWords = keyBytes / 4;
/** Keys lie in pieces of so many, so that a table that grows is not copied. */
const pieceBits = 15;
const pieceKeys = 2 ** pieceBits;
/*
 * Multiply-shift hashing (Dietzfelbinger 1996) of each byte by a random factor. Whoever may push can have any digests
 * named: by their own bytes, all of them could belong into one slot.
 */
const factors = randomFillSync(new Int32Array(keyBytes));
/** What one that is not sha256 takes beside its characters, in two maps. */
const otherBytes = 150;
const noDigit = 256;
/** The value of each hexadecimal digit in lower case, by its character code. */
const digits = new Uint16Array(128).fill(noDigit);
for (let value = 0; value < 16; value++) digits[value.toString(16).charCodeAt(0)] = value;

/**
 * Numbers digests in the order of their coming. Those of sha256 lie in buffers outside of the JavaScript heap: a
 * million takes some 40 MB, a third of what strings in a Map take, and the garbage collector never looks at them.
 */
export class DigestTable {
  readonly #memory: DigestMemory;
  /** The keys of sha256 digests, by number; the words of others are unused. */
  readonly #keys: Uint32Array[] = [];
  /** Number + 1, in the slot that the key's hash says or in the next free one; 0: free. */
  #slots = new Uint32Array(2048);
  readonly #others = new Map<string, number>();
  readonly #othersByNumber = new Map<number, string>();
  readonly #key = new Uint32Array(keyBytes / 4);
  readonly #bytes = new Uint8Array(this.#key.buffer);
  #size = 0;

  constructor(memory: DigestMemory = new DigestMemory(Infinity)) {
    this.#memory = memory;
  }

  get size(): number {
    return this.#size;
  }

  /** The digest's number; a new one if it had none. */
  add(digest: string): number {
    if (!this.#read(digest)) return this.#addOther(digest);
    const slot = this.#find();
    const found = this.#slots[slot] ?? 0;
    if (found !== 0) return found - 1;
    const number = this.#take();
    this.#keys[number >>> pieceBits]?.set(this.#key, (number % pieceKeys) * keyWords);
    this.#slots[slot] = this.#size;
    if (this.#size * 2 > this.#slots.length) this.#growSlots();
    return number;
  }

  /** The digest's number; null: it was never added. */
  numberOf(digest: string): number | null {
    if (!this.#read(digest)) return this.#others.get(digest) ?? null;
    const found = this.#slots[this.#find()] ?? 0;
    return found === 0 ? null : found - 1;
  }

  has(digest: string): boolean {
    return this.numberOf(digest) !== null;
  }

  isSha256(number: number): boolean {
    return !this.#othersByNumber.has(number);
  }

  digestOf(number: number): string {
    if (number < 0 || number >= this.#size) throw new RangeError(`no digest has the number ${number}`);
    const other = this.#othersByNumber.get(number);
    if (other !== undefined) return other;
    const piece = this.#keys[number >>> pieceBits] ?? this.#key;
    return `sha256:${Buffer.from(piece.buffer, (number % pieceKeys) * keyBytes, keyBytes).toString('hex')}`;
  }

  #addOther(digest: string): number {
    const found = this.#others.get(digest);
    if (found !== undefined) return found;
    this.#memory.take(otherBytes + digest.length);
    const number = this.#take();
    this.#others.set(digest, number);
    this.#othersByNumber.set(number, digest);
    return number;
  }

  #take(): number {
    if (this.#size % pieceKeys === 0) {
      this.#memory.take(pieceKeys * keyBytes);
      this.#keys.push(new Uint32Array(pieceKeys * keyWords));
    }
    return this.#size++;
  }

  /** Reads a sha256 digest into #key; false: it is another one. */
  #read(digest: string): boolean {
    if (digest.length !== 71 || !digest.startsWith('sha256:')) return false;
    for (let byte = 0; byte < keyBytes; byte++) {
      const value =
        (digits[digest.charCodeAt(7 + byte * 2)] ?? noDigit) * 16 +
        (digits[digest.charCodeAt(8 + byte * 2)] ?? noDigit);
      if (value > 255) return false;
      this.#bytes[byte] = value;
    }
    return true;
  }

  /** The slot of #key, or the free one where it belongs. */
  #find(): number {
    const mask = this.#slots.length - 1;
    const key = this.#key;
    let slot = hash(key, 0) >>> shiftOf(this.#slots);
    for (let found = this.#slots[slot] ?? 0; found !== 0; found = this.#slots[slot] ?? 0) {
      const piece = this.#keys[(found - 1) >>> pieceBits] ?? key;
      const at = ((found - 1) % pieceKeys) * keyWords;
      let word = 0;
      while (word < key.length && piece[at + word] === key[word]) word += 1;
      if (word === key.length) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #growSlots(): void {
    if (this.#slots.length >= maxSlots) throw new RangeError('too many digests');
    this.#memory.take(this.#slots.byteLength);
    const slots = new Uint32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let number = 0; number < this.#size; number++) {
      if (this.#othersByNumber.has(number)) continue;
      const piece = this.#keys[number >>> pieceBits] ?? this.#key;
      let slot = hash(piece, (number % pieceKeys) * keyWords) >>> shiftOf(slots);
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }
}

function hash(words: Uint32Array, at: number): number {
  let sum = 0;
  for (let index = 0; index < keyWords; index++) {
    const word = words[at + index] ?? 0;
    const byte = index * 4;
    sum +=
      Math.imul(word & 255, factors[byte] ?? 0) +
      Math.imul((word >>> 8) & 255, factors[byte + 1] ?? 0) +
      Math.imul((word >>> 16) & 255, factors[byte + 2] ?? 0) +
      Math.imul(word >>> 24, factors[byte + 3] ?? 0);
  }
  return sum | 0;
}

/** The highest bits of a hash are the best ones: as many as tell the slots apart. */
function shiftOf({ length }: Uint32Array): number {
  return Math.clz32(length) + 1;
}
