import { clientHost, exchange, type Response } from './raw-client.ts';
import { password, user, type FrontDoor } from './front-door.ts';
import { head, values } from './http-message.ts';

/** A browser at the console: it keeps cookies, and says of each request where it comes from. */
export type Browser = {
  /** The cookies that it keeps, by name. */
  readonly cookies: Map<string, string>;
  get(path: string, ...lines: string[]): Promise<Response>;
  /** Sends a form; `lines` replace what says where it comes from. */
  post(path: string, fields: Readonly<Record<string, string>>, lines?: readonly string[]): Promise<Response>;
  /** The token in the first form of a page. */
  formToken(path?: string): Promise<string>;
  logIn(name?: string, password?: string, fields?: Readonly<Record<string, string>>): Promise<Response>;
};

export const sessionCookie = '__Host-tidegate';

/** What a browser says of a form that a page of this host sent. */
export const fromHere: readonly string[] = [`Origin: https://${clientHost}`, 'Sec-Fetch-Site: same-origin'];

export function createBrowser(frontDoor: Pick<FrontDoor, 'port' | 'ca'>): Browser {
  const cookies = new Map<string, string>();
  const send = async (requestLine: string, lines: readonly string[], body = ''): Promise<Response> => {
    const kept = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await exchange(
      frontDoor,
      head(
        ...[
          `${requestLine} HTTP/1.1`,
          `Host: ${clientHost}`,
          'User-Agent: Mozilla/5.0',
          'Accept: text/html,*/*',
        ],
        ...(kept === '' ? [] : [`Cookie: ${kept}`]),
        ...lines,
      ) + body,
    );
    for (const cookie of values(response, 'set-cookie')) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === '') cookies.delete(name);
      else cookies.set(name, value);
    }
    return response;
  };
  const browser: Browser = {
    cookies,
    get: (path, ...lines) => send(`GET ${path}`, lines),
    post: (path, fields, lines = fromHere) => {
      const body = new URLSearchParams(fields).toString();
      const about = ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`];
      return send(`POST ${path}`, [...about, ...lines], body);
    },
    formToken: async (path = '/ui/login') => readFormToken(await browser.get(path)),
    logIn: async (name = user, word = password, fields = {}) => {
      const csrf = await browser.formToken();
      return browser.post('/ui/login', { csrf, name, password: word, ...fields });
    },
  };
  return browser;
}

export function readFormToken({ body }: Pick<Response, 'body'>): string {
  return /name="csrf" value="([^"]*)"/.exec(body.toString())?.[1] ?? '';
}
