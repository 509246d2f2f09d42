import { hasReadableForwarded } from '../../http/public-name.ts';
import { continueTrace } from '../../http/trace-context.ts';
import { buildUpstreamHeaders } from '../../upstream/request-headers.ts';
import type { Authentication } from '../authenticate/authenticate.ts';
import type { AuthorizedRequest } from '../authorize/authorize.ts';
import type { Exchange } from '../exchange.ts';

/** Gives the fields that a request has for upstream. */
export type UpstreamHeaders = (
  exchange: Exchange,
  request: Pick<Authentication & AuthorizedRequest, 'keepAuthorization' | 'hidesForm'>,
) => ReturnType<typeof buildUpstreamHeaders>;

/**
 * @param upstreamAuthorization a whole Authorization value for upstream; null for none
 * @param keepsCookies whether the client's cookies are for it
 */
export function createUpstreamHeaders(
  upstreamAuthorization: string | null,
  keepsCookies: boolean,
): UpstreamHeaders {
  return (exchange, { keepAuthorization, hidesForm }) => {
    const { requestId, traceparent, tracestate } = continueTrace(exchange.id, exchange.trace);
    return buildUpstreamHeaders(exchange.req.rawHeaders, {
      publicScheme: exchange.publicName.scheme,
      publicAuthority: exchange.publicName.authority,
      peerAddress: exchange.peerAddress,
      clientAddress: exchange.clientAddress,
      peerIsTrusted: exchange.peerIsTrusted,
      keepsForwarded: exchange.peerIsTrusted && hasReadableForwarded(exchange.req.rawHeaders),
      requestId,
      traceparent,
      tracestate,
      keepAuthorization,
      keepsCookies,
      hidesForm,
      upstreamAuthorization,
    });
  };
}
