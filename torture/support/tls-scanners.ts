import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from '../../test/support/processes.ts';

/** What a Tidegate is scanned as: a name of its certificate, which resolves to loopback. */
export type ScanTarget = { readonly port: number; readonly caPath: string };

/** What sslscan saw, as the attributes of its XML's elements. */
export type SslscanReport = (element: string) => readonly Readonly<Record<string, string>>[];

/** Runs sslscan. @throws Error when it could not finish. */
export async function runSslscan({ port }: ScanTarget): Promise<SslscanReport> {
  const { code, stdout, stderr } = await run('sslscan', ['--no-colour', '--xml=-', `localhost:${port}`]);
  if (code !== 0 || !stdout.includes('</ssltest>')) throw new Error(`sslscan: ${stderr || stdout}`);
  return (element) =>
    [...stdout.matchAll(new RegExp(`<${element} ([^>]*?)/?>`, 'g'))].map(([, attributes = '']) =>
      Object.fromEntries(
        [...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]),
      ),
    );
}

/** One line of testssl.sh's report. */
export type TestsslFinding = {
  readonly id: string;
  readonly severity: string;
  readonly finding: string;
};

/** Runs testssl.sh, which takes minutes; it asks no name server and no other host. @throws Error when it could not finish. */
export async function runTestssl({ port, caPath }: ScanTarget): Promise<TestsslFinding[]> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-testssl-'));
  const report = path.join(dir, 'report.json');
  const options = ['--warnings', 'off', '--color', '0', '--nodns', 'min', '--ip', '127.0.0.1'];
  try {
    const { stdout, stderr } = await run(
      'testssl',
      [...options, '--add-ca', caPath, '--jsonfile', report, `localhost:${port}`],
      { cwd: dir, timeoutMs: 15 * 60_000 },
    );
    const text = await readFile(report, 'utf8').catch(() => '[]');
    const findings = JSON.parse(text) as TestsslFinding[];
    if (!findings.some(({ id }) => id === 'scanTime'))
      throw new Error(`testssl.sh did not finish: ${stderr || stdout.slice(-2000)}`);
    return findings;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
