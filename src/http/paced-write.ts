import type { ServerResponse } from 'node:http';

/** The smallest and the largest piece, in bytes. */
const minBytes = 16 * 1024;
const maxBytes = 256 * 1024;
/** What one piece of each answer should come to in all, in bytes. */
const totalBytes = 4 * 1024 * 1024;

/** How many answers of this process go out in pieces now. */
let underWay = 0;

/**
 * Writes a body that is held whole, each piece when the one before has left the process: written at once, TLS would encrypt all of it
 * into memory of this one client. The body may be shared by many. Pieces shrink as such answers become more.
 *
 * @param options onPiece: called with the size of each piece but the last; end: called with the last, to write it and end the answer
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
