/** The digests in the bytes of a manifest. */
export type ManifestContent = {
  /** Every digest anywhere in them, in lower case. */
  readonly named: readonly string[];
  /** Those that a client which pulls this manifest could also fetch as manifests. */
  readonly manifests: readonly string[];
};

/**
 * Top-level fields whose digests a client fetches as bytes, not as manifests (image-spec, "Image Manifest"; Docker's
 * schema 1), or which only mention other content. True: unless its media type says that it is a manifest, since
 * containerd follows media types.
 */
const leafFields: ReadonlyMap<string, boolean> = new Map([
  ['config', true],
  ['layers', true],
  ['blobs', true],
  ['fsLayers', false],
  ['history', false],
  ['annotations', false],
]);

/**
 * Finds the digests in a manifest of any kind, by its content and not its media type. The bytes are scanned, not
 * parsed. Two parsers read a repeated name, or one in another case, differently (Go's takes `Manifests` for
 * `manifests`, and appends the second list to the first). And a scan takes linear time, whatever the bytes are. Bytes
 * that are not a JSON object are no manifest to any client, and name nothing.
 */
export function readManifestContent(body: Buffer): ManifestContent {
  if (!isObject(body)) return { named: [], manifests: [] };
  const text = body.includes('\\u') ? unescapeDigests(body) : body;
  const leaves = findLeaves(text);
  const named = new Set<string>();
  const manifests = new Set<string>();
  let next = 0;
  for (const { at, digest } of findDigests(text)) {
    while ((leaves[next]?.end ?? Infinity) < at) next += 1;
    named.add(digest);
    if ((leaves[next]?.start ?? Infinity) > at) manifests.add(digest);
  }
  return { named: [...named], manifests: [...manifests] };
}

/** Whether an object begins at the first byte that is not a space, after a byte order mark. */
function isObject(body: Buffer): boolean {
  let at = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? 3 : 0;
  while (body[at] === 0x20 || body[at] === 0x09 || body[at] === 0x0a || body[at] === 0x0d) at += 1;
  return body[at] === objectStart;
}

type Span = { readonly field: string; readonly start: number; end: number };

const code = (character: string) => character.charCodeAt(0);
const [quote, backslash, colon, comma] = ['"', '\\', ':', ','].map(code) as [number, number, number, number];
const [objectStart, objectEnd, listStart, listEnd] = ['{', '}', '[', ']'].map(code);
/** That of `{"mediaType":"index"}`. */
const shortestLabel = 21;
/** Longer than the name of any leaf field. */
const maxFieldLength = 16;

/**
 * Finds the leaves in the order of the text: the values of leaf fields, for a list each item. A doubtful value is not a
 * leaf.
 */
function findLeaves(text: Buffer): Span[] {
  const spans: Span[] = [];
  const seen = new Set<string>();
  const repeated = new Set<string>();
  let depth = 0;
  let name = '';
  /** The field whose value is being read; null: an irrelevant one. */
  let field: string | null = null;
  let isList = false;
  let start = 0;
  const endItem = (end: number) => {
    const last = spans.at(-1);
    if (field !== null && !isLabelledManifest(text, { field, start, end })) {
      // Adjacent leaves are merged: empty items could make millions.
      if (last?.field === field && last.end === start - 1) last.end = end;
      else spans.push({ field, start, end });
    }
    start = end + 1;
  };
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === quote) {
      const end = endOfString(text, at);
      if (depth === 1 && field === null)
        name = text.toString('latin1', at + 1, Math.min(end, at + 1 + maxFieldLength));
      at = end;
    } else if (byte === colon && depth === 1) {
      field = leafFields.has(name) ? name : null;
      if (seen.has(name)) repeated.add(name);
      else if (field !== null) seen.add(name);
      isList = false;
      start = at + 1;
    } else if (byte === objectStart || byte === listStart) {
      depth += 1;
      if (depth === 2) isList = byte === listStart;
    } else if (byte === objectEnd || byte === listEnd) {
      depth -= 1;
      if (depth === 0) endItem(at);
    } else if (byte === comma && (depth === 1 || (depth === 2 && isList))) {
      endItem(at);
      if (depth === 1) field = null;
    }
  }
  return spans.filter((span) => !repeated.has(span.field));
}

function isLabelledManifest(text: Buffer, { field, start, end }: Span): boolean {
  if (end - start < shortestLabel) return false;
  return leafFields.get(field) === true && /manifest|index/i.test(text.toString('latin1', start, end));
}

/** Finds the quote that ends the string that begins here. */
function endOfString(text: Buffer, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== quote) at += text[at] === backslash ? 2 : 1;
  return at;
}

/** No algorithm in use has fewer or more hexadecimal digits. */
const minHexLength = 32;
const maxHexLength = 256;
const maxAlgorithmLength = 64;

/** Finds every digest in the text with its place, in order. */
function findDigests(text: Buffer): { readonly at: number; readonly digest: string }[] {
  const found: { at: number; digest: string }[] = [];
  for (let at = text.indexOf(colon); at !== -1; at = text.indexOf(colon, at + 1)) {
    let end = at + 1;
    while (end <= at + maxHexLength && isHexDigit(text[end])) end += 1;
    if (end - at <= minHexLength) continue;
    let start = at;
    while (start > at - maxAlgorithmLength && isOfAlgorithm(text[start - 1])) start -= 1;
    if (start < at) found.push({ at, digest: text.toString('latin1', start, end).toLowerCase() });
  }
  return found;
}

function isHexDigit(byte = 0): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

/** image-spec, "Digests": an algorithm's components, and the separators between them. */
function isOfAlgorithm(byte = 0): boolean {
  const isSeparator = byte === 0x2b || byte === 0x2d || byte === 0x2e || byte === 0x5f;
  return isDigit(byte) || isSeparator || (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a);
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Replaces the escapes (RFC 8259 section 7) of characters that names and digests can have. */
function unescapeDigests(body: Buffer): Buffer {
  const text = Buffer.allocUnsafe(body.length);
  let length = 0;
  for (let at = 0; at < body.length; at++) {
    if (body[at] === backslash) {
      const value = readEscape(body, at);
      if (value !== null) {
        text[length++] = value;
        at += 5;
        continue;
      }
      text[length++] = backslash;
      at += 1;
    }
    text[length++] = body[at] ?? 0;
  }
  return text.subarray(0, length);
}

/** The character of an escape of six characters; null: none that a digest can have. */
function readEscape(body: Buffer, at: number): number | null {
  if (body[at + 1] !== code('u') || body[at + 2] !== code('0') || body[at + 3] !== code('0')) return null;
  if (!isHexDigit(body[at + 4]) || !isHexDigit(body[at + 5])) return null;
  const value = parseInt(body.toString('latin1', at + 4, at + 6), 16);
  return isOfAlgorithm(value) || value === colon ? value : null;
}
