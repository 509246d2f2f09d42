import type { ServerResponse } from 'node:http';

/** The smallest and the largest piece, in bytes. */
const minBytes = 16 * 1024;
const maxBytes = 256 * 1024;
/** The target size of one piece of each answer together, in bytes. */
const totalBytes = 4 * 1024 * 1024;

/** The number of answers that this process now sends in pieces. */
let underWay = 0;

/**
 * Writes a whole body piece by piece, each when the one before has left the process. Written at once, TLS would encrypt
 * all of it into memory of this one client, while many clients may share the body. Pieces shrink as such answers become
 * more.
 *
 * @param options onPiece: called with the size of each piece but the last; end: called with the last, to write it and
 * end the answer
 */
export function startInPieces(
  res: ServerResponse,
  body: Buffer,
  { onPiece, end }: { readonly onPiece: (bytes: number) => void; readonly end: (last: Buffer) => void },
): void {
  underWay += 1;
  res.once('close', () => (underWay -= 1));
  let at = 0;
  const next = (error?: Error | null) => {
    if (error || res.destroyed) return;
    const pieceBytes = Math.max(minBytes, Math.min(maxBytes, Math.floor(totalBytes / underWay)));
    const piece = body.subarray(at, at + pieceBytes);
    at += piece.length;
    if (at === body.length) {
      end(piece);
      return;
    }
    onPiece(piece.length);
    res.write(piece, next);
  };
  next();
}
