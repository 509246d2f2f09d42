import type { VNode } from 'preact';
import { renderPage } from './pages/render-page.ts';
import type { Exchange } from '../pipeline/exchange.ts';
import { noRoom, type WholeAnswers } from '../pipeline/whole-answers.ts';

/** What a handler answers. */
export type ConsoleAnswer = {
  readonly status?: number;
  /** Values of Set-Cookie. */
  readonly cookies?: readonly string[];
  /** Further fields: Retry-After, Allow. */
  readonly headers?: Readonly<Record<string, string>>;
} & (
  | { readonly page: VNode }
  /** Below this host: GET it. */
  | { readonly redirectTo: string }
  | {
      readonly file: Buffer;
      readonly type: string;
      /** Under this name it is saved; left out: it is shown. */
      readonly saveAs?: string;
      /** Whether its path names its content, so that browsers need not ask again. */
      readonly isImmutable?: boolean;
    }
);

const strictTransport = 'max-age=31536000';
const immutable = 'public, max-age=31536000, immutable';

/** A page loads nothing from elsewhere, runs no script that stands in it, and is shown in no frame. */
const contentPolicy = [
  ...["default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self'", "font-src 'self'"],
  ...["connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"],
].join('; ');

const protection: Readonly<Record<string, string>> = {
  'Content-Security-Policy': contentPolicy,
  'X-Content-Type-Options': 'nosniff',
  // With no-referrer a browser would send forms with the origin "null".
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
  'X-Frame-Options': 'DENY',
};

export type SendOptions = {
  readonly wholeAnswers: Pick<WholeAnswers, 'hold' | 'send'>;
  /** Whether browsers know the CA of the certificate, so that they can be told to use https alone. */
  readonly isPublic: () => boolean;
};

/** Sends an answer, with what protects it and its visitor. @throws OciError when there is no room for it */
export function sendAnswer(
  exchange: Exchange,
  answer: ConsoleAnswer,
  { wholeAnswers, isPublic }: SendOptions,
): void {
  const { req, res, connection, method } = exchange;
  const { body, fields, status } = describe(answer);
  if (!wholeAnswers.hold(res, body)) throw noRoom();
  if (!req.complete || connection.isCostly()) res.shouldKeepAlive = false;
  res.writeHead(answer.status ?? status, {
    ...protection,
    'Cache-Control': 'no-store',
    Vary: 'Cookie, Accept-Language',
    ...fields,
    ...answer.headers,
    'Content-Length': body.length,
    ...(answer.cookies && { 'Set-Cookie': [...answer.cookies] }),
    ...(isOnUsualPort(exchange) && isPublic() && { 'Strict-Transport-Security': strictTransport }),
  });
  wholeAnswers.send(exchange, method === 'HEAD' ? undefined : body);
}

/** The promise is about all ports of the host: another service on port 80 keeps its own. */
function isOnUsualPort({ publicName: { scheme, authority } }: Exchange): boolean {
  return scheme === 'https' && authority !== null && !/:\d+$/.test(authority);
}

function describe(answer: ConsoleAnswer): {
  readonly status: number;
  readonly body: Buffer;
  readonly fields: Readonly<Record<string, string>>;
} {
  if ('page' in answer) {
    const fields = { 'Content-Type': 'text/html; charset=utf-8' };
    return { status: 200, body: renderPage(answer.page), fields };
  }
  if ('redirectTo' in answer)
    return { status: 303, body: Buffer.alloc(0), fields: { Location: answer.redirectTo } };
  const { file, type, saveAs, isImmutable = false } = answer;
  return {
    status: 200,
    body: file,
    fields: {
      'Content-Type': type,
      ...(saveAs !== undefined && { 'Content-Disposition': `attachment; filename="${saveAs}"` }),
      ...(isImmutable && { 'Cache-Control': immutable, Vary: 'Accept-Encoding' }),
    },
  };
}
