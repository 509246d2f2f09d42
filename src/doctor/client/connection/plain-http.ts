import { broken, ok, quoteForeign, type Finding } from '../../finding.ts';

/** A request without TLS, to a port that should speak TLS. */
export function formatPlainRequest(authority: string): string {
  return `GET /v2/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`;
}

/** Judges the answer to plain HTTP of a port that should speak TLS. */
export function judgePlainHttp(text: string): Finding {
  const check = 'plain-http';
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0);
  if (status === 0) return ok(check, 'Plain HTTP gets no answer on this port.');
  if ((status >= 200 && status < 300) || status === 401) {
    const line = quoteForeign(text.split('\r\n', 1)[0] ?? '');
    return broken(
      check,
      `The port answers plain HTTP (${line}): passwords would cross the network in clear.`,
      'let Tidegate itself listen on this port, or terminate TLS in the proxy before it',
    );
  }
  return ok(check, `Plain HTTP is refused on this port (${status}).`);
}
