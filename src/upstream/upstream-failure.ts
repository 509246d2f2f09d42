import { OciError } from '../registry/error.ts';

/** What an operator should check, by the error code of Node or OpenSSL. */
const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: is the registry running, and is upstream.url right?',
  ENOTFOUND: 'its host name does not resolve: is upstream.url right?',
  EAI_AGAIN: 'its host name could not be resolved just now',
  ECONNRESET: 'it closed the connection before it answered',
  EPIPE: 'it closed the connection before it answered',
  EPROTO: 'it does not speak TLS there: should upstream.url begin with http:// ?',
  SELF_SIGNED_CERT_IN_CHAIN:
    'its certificate is not signed by a trusted CA: set upstream.ca to the CA that signed it',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed and not trusted: set upstream.ca to it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate is not signed by a trusted CA: set upstream.ca to the CA that signed it',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate is not signed by a trusted CA: set upstream.ca to the CA that signed it',
  CERT_SIGNATURE_FAILURE: 'its certificate is not signed by the CA in upstream.ca',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name than the one in upstream.url',
};

/** Errors of this machine, not of upstream. */
const shortages: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE']);

/**
 * Whether a request failed because its connection was stale, and may succeed on another: upstream has closed it, or
 * leftover bytes of the previous answer came.
 */
export function isStale(reusedSocket: boolean, { code = '' }: { readonly code?: string }): boolean {
  return reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE' || code.startsWith('HPE_'));
}

/**
 * Creates the 502 for a request without an answer; a 503 if no file descriptor was left. The client learns only that.
 * The reason, which may name internal addresses, is the cause's message, for the log.
 */
export function describeUpstreamFailure(error: Error & { code?: string }): OciError {
  const code = error.code ?? '';
  if (shortages.has(code)) {
    const headers = { 'Retry-After': '1' };
    return new OciError('UNAVAILABLE', 'Tidegate is overloaded; try again in a moment.', {
      headers,
      cause: error,
    });
  }
  const hint = hints[code] ?? (code.startsWith('HPE_') ? 'its answer is not valid HTTP' : undefined);
  const cause = new Error(hint === undefined ? error.message : `${error.message}: ${hint}`);
  return new OciError('BAD_GATEWAY', 'The registry behind Tidegate did not answer.', { cause });
}
