import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { createApp, type AppOptions } from '../../src/app/app.ts';
import type { CleanResults, CleanTask } from '../../src/app/clean-worker.ts';
import { loadPemFiles } from '../../src/app/pem-files.ts';
import { loadConfig } from '../../src/config/load/load.ts';
import { copyCertificate } from './certificate-files.ts';
import { htpasswdLine } from './front-door.ts';

/** Tidegate in the process of the test, which can ask it what no client can. */
export type OwnApp = {
  /** Has it do what the clean-up asks. */
  readonly perform: <Kind extends CleanTask['kind']>(
    task: Extract<CleanTask, { kind: Kind }>,
  ) => Promise<CleanResults[Kind]>;
  readonly port: number;
  /** PEM of the CA to trust. */
  readonly ca: string;
  stop(): Promise<void>;
};

export async function startOwnApp(
  upstreamUrl: string,
  set: readonly string[],
  parts: Partial<Pick<AppOptions, 'deletes'>> = {},
): Promise<OwnApp> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-test-'));
  const certs = path.join(dir, 'certs');
  await copyCertificate(certs, ['localhost']);
  await writeFile(path.join(dir, 'htpasswd'), htpasswdLine);
  const { config } = await loadConfig({
    configPath: undefined,
    flavor: undefined,
    set: [
      ...['listen.host=127.0.0.1', 'listen.port=0', 'workers=1', 'auth.htpasswd=htpasswd', 'log.audit=false'],
      ...[`tls.cert=${certs}/server.crt`, `tls.key=${certs}/server.key`, `upstream.url=${upstreamUrl}`],
      ...set,
    ],
    env: {},
    cwd: dir,
  });
  const { pem } = await loadPemFiles(config, new Date(), null);
  const app = await createApp({ config, pem, logger: pino({ level: 'silent' }), ...parts });
  return {
    perform: (task) => app.performCleanTask(task, new AbortController().signal),
    port: app.address.port,
    ca: await readFile(path.join(certs, 'ca.crt'), 'utf8'),
    stop: async () => {
      await app.close({ graceMs: 0 });
      await rm(dir, { recursive: true, force: true });
    },
  };
}
