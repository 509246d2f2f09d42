import { createHash } from 'node:crypto';
import { tooLarge } from '../../upstream/forward.ts';
import type { Exchange } from '../exchange.ts';

/**
 * Reads a request's body to its end for its digest, without forwarding it. Null: its client has left.
 * @param options algorithm: a name that image-spec registers ("Digests")
 * @throws OciError SIZE_INVALID when it has more than `maxBytes`
 */
export function readPushedDigest(
  { req, res, connection, expectation }: Exchange,
  { algorithm, maxBytes }: { algorithm: 'sha256' | 'sha512'; maxBytes: number },
): { readonly digest: Promise<string | null>; readonly transfer: Exchange['transfer'] } {
  const hash = createHash(algorithm);
  // While it is read, the client is waited for, and cut off when silent.
  const transfer = { waitsForClient: () => true, bytesIn: 0, bytesOut: 0 };
  const digest = new Promise<string | null>((resolve, reject) => {
    const end = (act: () => void) => {
      req.off('data', onData).off('end', onEnd);
      res.off('close', onClose);
      act();
    };
    const onData = (chunk: Buffer) => {
      transfer.bytesIn += chunk.length;
      hash.update(chunk);
      if (transfer.bytesIn > maxBytes) end(() => reject(tooLarge(maxBytes)));
    };
    const onEnd = () => end(() => resolve(`${algorithm}:${hash.digest('hex')}`));
    const onClose = () => end(() => resolve(null));
    if (res.destroyed) {
      resolve(null);
      return;
    }
    if (expectation === 'continue') res.writeContinue();
    req.on('data', onData).on('end', onEnd);
    res.on('close', onClose);
    connection.readBody();
  });
  return { digest, transfer };
}
