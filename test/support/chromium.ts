import { X509Certificate, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { chromium, type BrowserContext, type Locator, type Page } from 'playwright-core';
import type { FrontDoor } from './front-door.ts';
import { unlessInstalled } from './requirement.ts';

/** For a test's `skip`. */
export const unlessChromium = (): string | false => unlessInstalled('chromium');

/** Debian's Chromium, without a screen. It trusts the certificate of one Tidegate, and of those with the same one. */
export type Chromium = {
  /** Opens a window with cookies and settings of its own. */
  open(options?: WindowOptions): Promise<BrowserWindow>;
  stop(): Promise<void>;
};

export type WindowOptions = {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  /** What Accept-Language says. */
  readonly language?: string;
  /** False: as with JavaScript turned off. */
  readonly script?: boolean;
  /** The Tidegate to visit; the default is the one that the browser was started for. */
  readonly door?: Pick<FrontDoor, 'port'>;
};

export type BrowserWindow = {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What must never happen: errors of scripts, what the content policy blocked, dialogs, requests to other places. */
  readonly faults: readonly string[];
  /** Sizes of the pages that were loaded, in bytes, by address. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Logs in by the form, and waits for the page after it. */
  readonly logIn: (name: string, password: string) => Promise<void>;
  close(): Promise<void>;
};

const switches = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

/** Set by text of others that runs. */
export const canary = 'tidegateCanary';

/** Reports what the content policy blocks, and whether the canary was set; before any script of the page. */
const watchScript = `
  addEventListener('securitypolicyviolation', (event) => console.error('blocked: ' + event.violatedDirective + ' ' + event.blockedURI));
  Object.defineProperty(globalThis, '${canary}', { set: () => console.error('text of others ran') });
`;

/** @param host the name in its addresses; left out: localhost with the port */
export async function startChromium(
  door: Pick<FrontDoor, 'dir' | 'port'>,
  { host }: { readonly host?: string } = {},
): Promise<Chromium> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...switches,
      `--ignore-certificate-errors-spki-list=${await readKeyHash(door)}`,
      ...(host === undefined ? [] : [`--host-resolver-rules=MAP ${host}:443 127.0.0.1:${door.port}`]),
    ],
  });
  return {
    open: async (options = {}) => {
      const { width = 1280, height = 900, dark = false, language = 'en-GB', script = true } = options;
      const { port } = options.door ?? door;
      const baseURL = host === undefined ? `https://localhost:${port}` : `https://${host}`;
      const context = await browser.newContext({
        ...{ baseURL, viewport: { width, height }, locale: language, javaScriptEnabled: script },
        colorScheme: dark ? 'dark' : 'light',
        reducedMotion: 'reduce',
      });
      await context.grantPermissions(['clipboard-read', 'clipboard-write']);
      if (script) await context.addInitScript(watchScript);
      const page = await context.newPage();
      const watched = watch(page, baseURL);
      return {
        ...{ page, context, ...watched },
        logIn: async (name, password) => {
          await page.goto('/ui/login');
          await page.fill('#f-name', name);
          await page.fill('#f-password', password);
          await follow(page.locator('main form button'));
        },
        close: () => context.close(),
      };
    },
    stop: () => browser.close(),
  };
}

/** Clicks on what leads to another page, and waits for that: the next step would interrupt it otherwise. */
export async function follow(target: Locator): Promise<void> {
  await Promise.all([target.page().waitForEvent('domcontentloaded'), target.click()]);
}

function watch(page: Page, origin: string): Pick<BrowserWindow, 'faults' | 'sizes'> {
  const faults: string[] = [];
  const sizes = new Map<string, number>();
  page.on('pageerror', ({ message }) => faults.push(`error: ${message}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    // That a page has an error status is no fault.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      faults.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) faults.push(`request: ${request.url()}`);
  });
  page.on('response', (response) => {
    const { 'content-type': type = '', 'content-length': length = '0' } = response.headers();
    if (type.startsWith('text/html')) sizes.set(response.url(), Number(length));
  });
  return { faults, sizes };
}

/** What names a server's key to Chromium (RFC 7469 section 2.4). */
async function readKeyHash({ dir }: Pick<FrontDoor, 'dir'>): Promise<string> {
  const { publicKey } = new X509Certificate(await readFile(path.join(dir, 'certs/server.crt')));
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');
}
