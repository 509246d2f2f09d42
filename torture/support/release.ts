import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, run } from '../../test/support/processes.ts';

/** A release made from a copy of this checkout with someone's private files in it. */
export type Release = {
  readonly dir: string;
  readonly tarballPath: string;
  /** The names of the files in the package. */
  readonly files: readonly string[];
  /** The folder that the package was unpacked to. */
  readonly unpackedDir: string;
  /** The CycloneDX document. */
  readonly bill: Bill;
  remove(): Promise<void>;
};

export type Bill = {
  readonly bomFormat: string;
  readonly metadata: { readonly component: { readonly name: string; readonly version: string } };
  readonly components: readonly {
    readonly name: string;
    readonly version: string;
    readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
    readonly licenses?: readonly unknown[];
  }[];
};

/** A text that is in every file of the checkout which is nobody else's business. */
export const secret = 'nobody but the operator reads this';
const ownFiles = [
  ...['config/tidegate.yml', 'config/htpasswd', 'config/htpasswd.bak', 'deploy/.env', '.env'],
  ...['deploy/kubernetes/secrets/server.key', 'certs/ca.key', 'certs/server.key', 'certs/server.crt'],
  ...[
    'var/registry/blob',
    'tidegate.log',
    'build/left.js',
    'dist/left.js',
    'dist/.built-from',
    'dist/main.js.map',
  ],
];

export async function createRelease(): Promise<Release> {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-torture-release-'));
  const checkout = path.join(dir, 'checkout');
  const copied = [
    ...[
      'package.json',
      'package-lock.json',
      'README.md',
      'README.zh-CN.md',
      'SECURITY.md',
      'ARCHITECTURE.md',
    ],
    'CHANGELOG.md',
    ...['LICENSE', 'certs/README.md', 'config', 'deploy', 'dist', 'docs', 'release', 'src'],
  ];
  for (const name of copied)
    await cp(path.join(root, name), path.join(checkout, name), { recursive: true, dereference: true });
  await symlink(path.join(root, 'node_modules'), path.join(checkout, 'node_modules'));
  for (const name of ownFiles) {
    await mkdir(path.dirname(path.join(checkout, name)), { recursive: true });
    await writeFile(path.join(checkout, name), secret);
  }
  const out = path.join(dir, 'out');
  await must(process.execPath, ['release/release.mjs', '--draft', '--out', out], checkout);
  const { name, version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  await must('sha256sum', ['--check', '--strict', 'SHA256SUMS'], out);
  const tarballPath = path.join(out, `${name}-${version}.tgz`);
  const listed = await must('tar', ['-tzf', tarballPath], out);
  await must('tar', ['-xzf', tarballPath], out);
  const bill = JSON.parse(await readFile(path.join(out, `${name}-${version}.cdx.json`), 'utf8')) as Bill;
  return {
    dir,
    tarballPath,
    files: listed
      .trim()
      .split('\n')
      .map((file) => file.replace(/^package\//, ''))
      .sort(),
    unpackedDir: path.join(out, 'package'),
    bill,
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

async function must(file: string, args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run(file, args, { cwd });
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}
