/** No storage has more: 2^28 digests alone take 8 GiB. */
const maxSlots = 2 ** 29;
const keyBytes = 32;

/**
 * Numbers digests in the order of their coming. Those of sha256 lie in buffers outside of the JavaScript heap: a
 * million takes some 45 MB, a third of what strings in a Map take, and the garbage collector never looks at them.
 */
export class DigestTable {
  /** The keys of sha256 digests, by number; the words of others are unused. */
  #keys = new Uint32Array((1024 * keyBytes) / 4);
  /** Number + 1, in the slot that the key's first word says or in the next free one; 0: free. */
  #slots = new Uint32Array(2048);
  readonly #others = new Map<string, number>();
  readonly #othersByNumber = new Map<number, string>();
  readonly #key = new Uint32Array(keyBytes / 4);
  readonly #bytes = Buffer.from(this.#key.buffer);
  #size = 0;

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
    this.#keys.set(this.#key, (number * keyBytes) / 4);
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

  digestOf(number: number): string {
    if (number < 0 || number >= this.#size) throw new RangeError(`no digest has the number ${number}`);
    const other = this.#othersByNumber.get(number);
    if (other !== undefined) return other;
    return `sha256:${Buffer.from(this.#keys.buffer, number * keyBytes, keyBytes).toString('hex')}`;
  }

  #addOther(digest: string): number {
    const found = this.#others.get(digest);
    if (found !== undefined) return found;
    const number = this.#take();
    this.#others.set(digest, number);
    this.#othersByNumber.set(number, digest);
    return number;
  }

  #take(): number {
    const number = this.#size++;
    const words = (this.#size * keyBytes) / 4;
    if (words > this.#keys.length) this.#keys = grown(this.#keys, this.#keys.length * 1.5);
    return number;
  }

  /** Reads a sha256 digest into #key; false: it is another one. */
  #read(digest: string): boolean {
    if (digest.length !== 71 || !digest.startsWith('sha256:')) return false;
    return this.#bytes.write(digest.slice(7), 'hex') === keyBytes && isLowerCase(digest);
  }

  /** The slot of #key, or the free one where it belongs. */
  #find(): number {
    const mask = this.#slots.length - 1;
    const key = this.#key;
    let slot = (key[0] ?? 0) & mask;
    for (let found = this.#slots[slot] ?? 0; found !== 0; found = this.#slots[slot] ?? 0) {
      const at = ((found - 1) * keyBytes) / 4;
      let word = 0;
      while (word < key.length && this.#keys[at + word] === key[word]) word += 1;
      if (word === key.length) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #growSlots(): void {
    if (this.#slots.length >= maxSlots) throw new RangeError('too many digests');
    const slots = new Uint32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let number = 0; number < this.#size; number++) {
      if (this.#othersByNumber.has(number)) continue;
      let slot = (this.#keys[(number * keyBytes) / 4] ?? 0) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }
}

function isLowerCase(digest: string): boolean {
  for (let at = 7; at < digest.length; at++)
    if (digest.charCodeAt(at) < 0x61 && digest.charCodeAt(at) > 0x39) return false;
  return true;
}

function grown(array: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.ceil(length));
  larger.set(array);
  return larger;
}
