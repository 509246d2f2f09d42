import { OperatorError } from '../system/operator-error.ts';
import { quoteForeign } from './finding.ts';

/** What the codes of Node and OpenSSL mean, as the end of a sentence. */
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

/** Alerts with which a server says that it wants a client certificate (RFC 8446 section 6.2). */
const certificateAlerts: readonly string[] = [
  'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
  'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
];

/** An error's code; undefined where it has none, which is a fault of the program and not of what it looks at. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Why something failed, as the end of a sentence. @throws the error itself when it is a fault of this program. */
export function describeFailure(error: unknown): string {
  if (error instanceof OperatorError) return error.message;
  const code = codeOf(error);
  if (code === undefined) throw error;
  return meanings.get(code) ?? quoteForeign(`${(error as Error).message} (${code})`);
}

/** Whether a server has refused because it saw no client certificate, or not the right one. */
export function wantsClientCertificate(error: unknown): boolean {
  return certificateAlerts.includes(codeOf(error) ?? '');
}
