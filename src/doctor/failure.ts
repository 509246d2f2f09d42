import { OperatorError } from '../system/operator-error.ts';
import { quoteForeign } from './finding.ts';

/** The meaning of Node's and OpenSSL's codes, as the end of a sentence. */
const meanings: ReadonlyMap<string, string> = new Map([
  ['ABORT_ERR', 'no answer came in time'],
  ['EACCES', 'there is no permission'],
  ['EAI_AGAIN', 'no name server answers'],
  ['ECONNREFUSED', 'nothing listens there'],
  ['ECONNRESET', 'the connection was cut'],
  ['EHOSTUNREACH', 'there is no route to that address'],
  ['ENETUNREACH', 'there is no route to that network'],
  ['ENODATA', 'the name does not resolve'],
  ['ENOENT', 'it does not exist'],
  ['ENOTFOUND', 'the name does not resolve'],
  ['EPIPE', 'the connection was cut'],
  ['EPROTO', 'it does not speak TLS'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'it does not speak TLS'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'it does not speak TLS'],
  ['ETIMEDOUT', 'no answer came in time'],
]);

/** TLS alerts of a server that demands a client certificate (RFC 8446 section 6.2). */
const certificateAlerts: readonly string[] = [
  'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
  'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
];

/** Reads an error's code; undefined for a fault of the program itself. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Describes a failure, as the end of a sentence. @throws the error itself when it is a fault of this program. */
export function describeFailure(error: unknown): string {
  if (error instanceof OperatorError) return error.message;
  const code = codeOf(error);
  if (code === undefined) throw error;
  return meanings.get(code) ?? quoteForeign(`${(error as Error).message} (${code})`);
}

/** Whether a server has refused a missing or wrong client certificate. */
export function wantsClientCertificate(error: unknown): boolean {
  return certificateAlerts.includes(codeOf(error) ?? '');
}
