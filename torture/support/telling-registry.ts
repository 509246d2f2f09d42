import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { stop } from '../../test/support/processes.ts';

/** What a registry took a request for, by its own word. */
export type Resolution = {
  readonly method: string;
  /** Null where the request is about no repository. */
  readonly name: string | null;
  readonly reference: string | null;
  readonly digest: string | null;
  readonly upload: string | null;
  /** Every repository whose storage it looked into. */
  readonly touched: ReadonlySet<string>;
};

/** A real docker-registry that keeps all in memory and tells what it makes of each request. */
export type TellingRegistry = {
  readonly url: string;
  /** By the mark that each request ends with, `&mark=…`; those that came to no handler are not among them. */
  readonly resolutions: ReadonlyMap<string, Resolution>;
  /** Every mark that came, resolved or not. */
  readonly marks: ReadonlySet<string>;
  /** Resolves when it has told about this one, and so of all that were answered before it. */
  told(mark: string): Promise<void>;
  forget(): void;
  stop(): Promise<void>;
};

type Line = Readonly<Record<string, unknown>>;
type Known = { -readonly [K in keyof Resolution]: Resolution[K] } & { touched: Set<string> };

/** What tells one request from all others, at the end of its target. */
export const markOf = (target: string): string | undefined => /[?&]mark=([0-9.]+)$/.exec(target)?.[1];

/** A repository's folder in a message about the storage. */
const repositoryFolder = /\/repositories\/(.+?)\/_(?:layers|manifests|uploads)/;

export async function startTellingRegistry(): Promise<TellingRegistry> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-registry-'));
  const configPath = path.join(dir, 'config.yml');
  const config = {
    version: '0.1',
    log: { level: 'debug', formatter: 'json', accesslog: { disabled: true } },
    storage: { inmemory: {}, delete: { enabled: true }, maintenance: { uploadpurging: { enabled: false } } },
    http: { addr: '127.0.0.1:0', secret: 'for one test only' },
  };
  await writeFile(configPath, JSON.stringify(config)); // JSON is YAML
  const child = spawn('docker-registry', ['serve', configPath], { stdio: ['ignore', 'ignore', 'pipe'] });
  const resolutions = new Map<string, Known>();
  const marks = new Set<string>();
  let awaited: { readonly mark: string; readonly resolve: () => void } | undefined;
  let log = '';
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (text) => {
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(text)?.[1];
      if (address !== undefined) resolve(address);
      if (text.startsWith('{')) hear(JSON.parse(text) as Line);
      else log += `${text}\n`;
    });
  });
  const hear = (line: Line) => {
    const target = line['http.request.uri'];
    const mark = typeof target === 'string' ? markOf(target) : undefined;
    if (mark === undefined) return;
    marks.add(mark);
    const text = (key: string) => (typeof line[key] === 'string' ? line[key] : null);
    const message = text('msg') ?? '';
    if (message === 'authorizing request') {
      resolutions.set(mark, {
        method: text('http.request.method') ?? '',
        name: text('vars.name'),
        reference: text('vars.reference'),
        digest: text('vars.digest'),
        upload: text('vars.uuid'),
        touched: new Set(),
      });
    }
    const touched = repositoryFolder.exec(message)?.[1];
    if (touched !== undefined) resolutions.get(mark)?.touched.add(touched);
    if (message.startsWith('response completed') && mark === awaited?.mark) awaited.resolve();
  };
  const died = once(child, 'exit').then(() => {
    throw new Error(`docker-registry ended before it was ready: ${log}`);
  });
  const address = await Promise.race([listening, died]);
  died.catch(() => {}); // from here on its end is the suite's own doing
  return {
    url: `http://${address}`,
    resolutions,
    marks,
    told: (mark) => new Promise((resolve) => (awaited = { mark, resolve })),
    forget: () => {
      resolutions.clear();
      marks.clear();
    },
    stop: async () => {
      await stop(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
