/** A block of a PEM file (RFC 7468) with valid Base64. */
export type PemBlock = {
  /** The label after BEGIN, such as CERTIFICATE. */
  readonly label: string;
  /** The line of its BEGIN, counted from 1. */
  readonly line: number;
  readonly der: Buffer;
  /** Whether its headers say that it is encrypted with a password (RFC 1421 section 4.6.1.1). */
  readonly isEncrypted: boolean;
};

/** A part of a PEM file that is a broken block. */
export type PemFault = {
  readonly line: number;
  /** The block's label; for an END without a BEGIN, that of the END. */
  readonly label: string;
  /** What is wrong, as the end of a sentence. */
  readonly reason: string;
};

export type PemText = { readonly blocks: readonly PemBlock[]; readonly faults: readonly PemFault[] };

/**
 * Reads a PEM text that was decoded as Latin-1, in linear time.
 *
 * Accepts more than OpenSSL, which silently skips what it does not recognise. BEGIN and END may follow a byte order
 * mark, other text or each other on one line, may be indented, and lines may end in CR alone. {@link formatPem} writes
 * the text for OpenSSL anew, so that both read the same. Text around blocks is skipped, and so is a block after # on
 * its line.
 */
export function readPemBlocks(text: string): PemText {
  const blocks: PemBlock[] = [];
  const faults: PemFault[] = [];
  const lines = createLineFinder(text);
  let open: { label: string; line: number; bodyAt: number } | null = null;
  const breakOff = (reason: string) => {
    if (open !== null) faults.push({ line: open.line, label: open.label, reason });
    open = null;
  };
  for (const match of text.matchAll(/-----(BEGIN|END) ([^-\r\n]{1,64})-----/g)) {
    const [boundary, kind, label = ''] = match;
    const { number, isComment } = lines.at(match.index);
    if (isComment) continue;
    if (kind === 'BEGIN') {
      breakOff('it has no END line: the file was cut off, or the line is damaged');
      open = { label, line: number, bodyAt: match.index + boundary.length };
    } else if (open === null) {
      faults.push({ line: number, label, reason: 'its END line has no BEGIN line' });
    } else if (label !== open.label) {
      breakOff(`it ends as another kind of block, on line ${number}`);
    } else {
      const body = decodeBody(text.slice(open.bodyAt, match.index), open.line);
      if ('reason' in body) breakOff(body.reason);
      else blocks.push({ label, line: open.line, ...body });
      open = null;
    }
  }
  breakOff('it has no END line: the file was cut off');
  const all = faults.concat(findBrokenBoundaries(text));
  return { blocks, faults: all.sort((one, other) => one.line - other.line) };
}

/** Writes a block as RFC 7468 has it, with lines of 64 characters. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** Finds the line of a position; call it with increasing positions. */
function createLineFinder(text: string) {
  const ends = /\r\n|\r|\n/g;
  let next = ends.exec(text);
  let number = 1;
  let isComment = startsComment(text, 0);
  return {
    at: (index: number) => {
      while (next !== null && next.index < index) {
        number += 1;
        isComment = startsComment(text, ends.lastIndex);
        next = ends.exec(text);
      }
      return { number, isComment };
    },
  };
}

function startsComment(text: string, lineAt: number): boolean {
  const mark = /(?:\xef\xbb\xbf)?[ \t]*#/y;
  mark.lastIndex = lineAt;
  return mark.test(text);
}

function decodeBody(
  body: string,
  firstLine: number,
): { der: Buffer; isEncrypted: boolean } | { reason: string } {
  const headers =
    /^[ \t]*(?:\r\n|\r|\n)[A-Za-z][A-Za-z0-9-]*:[^]*?(?:\r\n[ \t]*\r\n|\n[ \t]*\n|\r[ \t]*\r)/.exec(body);
  const from = headers?.[0].length ?? 0;
  const wrong = body.slice(from).search(/[^A-Za-z0-9+/= \t\r\n\v\f]/);
  if (wrong !== -1) {
    const line = firstLine + (body.slice(0, from + wrong).match(/\r\n|\r|\n/g)?.length ?? 0);
    return { reason: `line ${line} holds what is not Base64` };
  }
  const base64 = body.slice(from).replace(/[ \t\r\n\v\f]+/g, '');
  const der = Buffer.from(base64, 'base64');
  if (der.length === 0) return { reason: 'it is empty' };
  if (base64.length % 4 !== 0 || !/^[^=]*={0,2}$/.test(base64))
    return { reason: 'its Base64 has lost characters' };
  return { der, isEncrypted: /^Proc-Type: *4, *ENCRYPTED/m.test(headers?.[0].replaceAll('\r', '\n') ?? '') };
}

/**
 * Finds BEGIN and END lines of a certificate with missing or wrong dashes, such as U+2010 to U+2015 (two bytes in
 * UTF-8).
 */
function findBrokenBoundaries(text: string): PemFault[] {
  const dash = '(?:-|\\xe2\\x80[\\x90-\\x95])';
  const form = new RegExp(
    `${dash} ?(?:BEGIN|END) ((?:X509 |TRUSTED )?CERTIFICATE)(?= ?(?:${dash}|[\\r\\n]|$))`,
    'g',
  );
  const lines = createLineFinder(text);
  return [...text.matchAll(form)].flatMap((match) => {
    const { number, isComment } = lines.at(match.index);
    const isWhole =
      text.slice(match.index - 4, match.index + 1) === '-----' &&
      match[0].startsWith('-') &&
      match[0][1] !== ' ' &&
      text.startsWith('-----', match.index + match[0].length);
    const label = match[1] ?? '';
    return isWhole || isComment
      ? []
      : [{ line: number, label, reason: 'it needs five hyphens before and after what it says' }];
  });
}
