import { OciError } from '../registry/error.ts';
import type { Operation } from '../registry/operation.ts';
import { principalText } from '../registry/principal.ts';
import type { Exchange } from './exchange.ts';
import { announcesBody } from './framing.ts';

/** The Retry-After for a client with too many uploads, in seconds. */
const retryAfterS = 5;

/**
 * Limits concurrent uploads per user (per address for anonymous clients). An upload is a request with a body other than
 * a manifest; it ends with its answer.
 *
 * @param onRefused called for each refused upload
 */
export function createUploadLimit(
  maxPerUser: number,
  onRefused: () => void,
): (exchange: Exchange, operation: Operation) => void {
  const underWay = new Map<string, number>();
  /** @throws OciError TOOMANYREQUESTS */
  return (exchange, operation) => {
    const { res } = exchange;
    if (operation.kind === 'manifest' || !announcesBody(exchange.req) || res.destroyed) return;
    // Anonymous clients may push where a policy lets them; no principal's text begins with a line feed.
    const user = principalText(exchange.principal) ?? `\n${exchange.clientAddress}`;
    const count = underWay.get(user) ?? 0;
    if (count >= maxPerUser) {
      exchange.reason = 'too-many-uploads';
      onRefused();
      throw new OciError('TOOMANYREQUESTS', `You have ${count} uploads in progress: wait for some to end.`, {
        headers: { 'Retry-After': String(retryAfterS) },
      });
    }
    underWay.set(user, count + 1);
    res.once('close', () => {
      const left = (underWay.get(user) ?? 0) - 1;
      if (left > 0) underWay.set(user, left);
      else underWay.delete(user);
    });
  };
}
