import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { root, run, stop, type Finished } from '../../test/support/processes.ts';
import { loadLockedPackages, type LockedPackage } from '../support/locked-packages.ts';
import { createRelease, secret, type Release } from '../support/release.ts';
import type { Part, Trial } from '../trial.ts';

/** Packages that run a program of theirs when they are installed, and why they may. */
const mayRunAtInstall: readonly string[] = [];

/** What the package holds: whatever is in these folders, as a table of how many files of which kind, and these files. */
const packageFiles = [
  ...['ARCHITECTURE.md', 'CHANGELOG.md', 'LICENSE', 'README.md', 'README.zh-CN.md', 'SECURITY.md'],
  'certs/README.md',
  ...[
    'config/REFERENCE.md',
    'config/flavors.yml',
    'config/schema.json',
    'config/single-host.yml',
    'config/mirrors.yml',
  ],
  ...['npm-shrinkwrap.json', 'package.json'],
];
const packageFolders: readonly RegExp[] = [
  /^dist\/(?!quickstart\/)([a-z-]+\/)*[a-z0-9-]+\.js$/,
  /^config\/(clean|policies)\/[a-z-]+(\.test)?\.yml$/,
  /^docs\/([a-z]+\/)?(README|[a-z-]+)\.(md|svg)$/,
  /^docs\/pictures\/[a-z-]+\.webp$/,
  /^deploy\/(Dockerfile|(install|mirror)\.sh|[a-z-]+@?\.(yml|conf|service|logrotate)|compose\.acme\.yml)$/,
  /^deploy\/(grafana|kubernetes(\/clean)?|prometheus|registry|keyless\/[a-z]+)\/[a-z0-9-]+\.(json|ya?ml)$/,
];

/** What npm says when its registry, and not the tree, is the trouble. */
const noAnswer =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED|E40[0135]|E5\d\d|audit endpoint returned an error)\b/;

/** All dependencies, and all that is published. */
export const supplyChain: Part = {
  name: 'supply chain',
  open: async ({ form }) => {
    const release = await createRelease();
    const packages = loadLockedPackages();
    const quick: Trial[] = [
      {
        name: 'every dependency is one exact version with its checksum, from the registry alone',
        run: () => lookAtPins(packages),
      },
      { name: 'nothing of the tree runs when it is installed', run: () => lookForScripts(packages) },
      {
        name: 'every licence is compatible, on the page, and in the tree with its text',
        run: () => lookAtLicences(packages),
      },
      {
        name: 'the package holds what it needs, and nothing of the checkout besides',
        run: () => lookAtPackage(release),
      },
      {
        name: 'the bill of materials names every package that runs, and no other',
        run: () => lookAtBill(release, packages),
      },
    ];
    const slow: Trial[] = [
      { name: 'npm audit knows of nothing in what runs', run: () => audit('--omit=dev') },
      {
        name: 'npm audit knows of nothing high in what development needs',
        run: () => audit('--audit-level=high'),
      },
      {
        name: 'the package, installed in an empty folder, is the program that was tested',
        run: () => install(release, packages),
      },
    ];
    return { trials: form === 'quick' ? quick : [...quick, ...slow], close: () => release.remove() };
  },
};

async function lookAtPins(packages: readonly LockedPackage[]): Promise<number> {
  const { dependencies, devDependencies } = readManifest(root);
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies }))
    assert.match(version, /^(npm:[a-z-]+@)?\d+\.\d+\.\d+$/, name); // `npm:`: a second version of a package
  for (const { folder, integrity = '', resolved } of packages) {
    assert.match(integrity, /^sha512-[\w+/]{86}==$/, folder);
    assert.ok(resolved === undefined || resolved.startsWith('https://registry.npmjs.org/'), resolved);
  }
  return Promise.resolve(packages.length);
}

/** What is installed is looked at too: a lock file says what npm saw when it was written. */
async function lookForScripts(packages: readonly LockedPackage[]): Promise<number> {
  assert.ok(packages.length > 100);
  const running = packages.filter(({ folder, hasInstallScript }) => {
    const dir = path.join(root, folder);
    if (hasInstallScript || existsSync(path.join(dir, 'binding.gyp'))) return true;
    if (!existsSync(dir)) return false; // for another platform
    const { scripts = {} } = readManifest(dir);
    return ['preinstall', 'install', 'postinstall'].some((script) => script in scripts);
  });
  assert.deepEqual(
    running.map(({ name }) => name),
    mayRunAtInstall,
  );
  const own = Object.keys(readManifest(root).scripts ?? {});
  assert.deepEqual(
    own.filter((script) => /^(pre|post)|^(install|prepare)/.test(script)),
    ['prepack'], // before it is packed, by those who publish it
  );
  return Promise.resolve(packages.length);
}

async function lookAtLicences(packages: readonly LockedPackage[]): Promise<number> {
  const { code, stderr } = await run(process.execPath, ['release/licences.mjs', '--check'], { cwd: root });
  assert.equal(code, 0, stderr);
  const page = readFileSync(path.join(root, 'docs/licences.md'), 'utf8');
  for (const { name, version, folder, license, dev } of packages) {
    assert.ok(page.includes(`${name} ${version}`), `${name} ${version} is not in docs/licences.md`);
    if (!existsSync(path.join(root, folder))) continue;
    // The lock file took it from the registry, where it could be another.
    assert.equal(readManifest(path.join(root, folder)).license, license, folder);
    if (dev !== true)
      assert.ok(
        readdirSync(path.join(root, folder)).some((file) => /^(licen[cs]e|copying)/i.test(file)),
        folder,
      );
  }
  return packages.length;
}

async function lookAtPackage({ files, unpackedDir }: Release): Promise<number> {
  for (const file of packageFiles) assert.ok(files.includes(file), `${file} is missing`);
  const unknown = files.filter(
    (file) => !packageFiles.includes(file) && !packageFolders.some((folder) => folder.test(file)),
  );
  assert.deepEqual(unknown, []);
  const compiled = files.filter((file) => file.startsWith('dist/'));
  assert.ok(compiled.length > 100);
  for (const file of compiled) {
    const source = file.replace(/^dist/, 'src').replace(/\.js$/, '.ts');
    assert.ok(existsSync(path.join(root, source)), `${file} was compiled from nothing that is here`);
  }
  const found = await run('grep', ['-rlF', secret, unpackedDir]);
  assert.deepEqual([found.code, found.stdout], [1, '']);
  const { scripts, devDependencies, private: isPrivate } = readManifest(unpackedDir);
  assert.deepEqual([scripts, devDependencies, isPrivate], [undefined, undefined, true]);
  return files.length;
}

async function lookAtBill({ bill }: Release, packages: readonly LockedPackage[]): Promise<number> {
  const { name, version } = readManifest(root);
  assert.equal(bill.bomFormat, 'CycloneDX');
  assert.deepEqual([bill.metadata.component.name, bill.metadata.component.version], [name, version]);
  const wanted = packages
    .filter(({ dev }) => dev !== true)
    .map((each) => [each.name, each.version, hexOf(each.integrity ?? '')].join(' '));
  const listed = bill.components.map((each) => {
    assert.equal(each.licenses?.length, 1, each.name);
    return [each.name, each.version, each.hashes?.find(({ alg }) => alg === 'SHA-512')?.content].join(' ');
  });
  assert.deepEqual(listed.sort(), wanted.sort());
  return Promise.resolve(listed.length);
}

async function audit(...options: string[]): Promise<number> {
  const done = await run('npm', ['audit', '--json', ...options], { cwd: root });
  const report = parseJson(done.stdout) as {
    metadata?: { vulnerabilities?: { total: number } };
    error?: unknown;
  };
  const total = report.metadata?.vulnerabilities?.total;
  if (total === undefined) return notChecked('npm audit', done);
  // With an audit level npm alone decides which of them count.
  assert.equal(done.code, 0, done.stdout);
  return 1;
}

async function install({ dir, tarballPath }: Release, packages: readonly LockedPackage[]): Promise<number> {
  const into = path.join(dir, 'installed');
  await mkdir(into);
  await writeFile(path.join(into, 'package.json'), '{"private":true}');
  const options = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  const done = await run('npm', ['install', ...options, tarballPath], { cwd: into });
  if (done.code !== 0 && noAnswer.test(done.stderr)) return notChecked('installing the package', done);
  assert.equal(done.code, 0, done.stderr);

  const installed = loadLockedPackages(path.join(into, 'node_modules/.package-lock.json'));
  const integrities = (those: readonly LockedPackage[]) =>
    those.map(({ name, version, integrity }) => `${name} ${version} ${integrity ?? ''}`).sort();
  assert.deepEqual(
    integrities(installed.filter(({ name }) => name !== 'tidegate')),
    integrities(packages.filter(({ dev }) => dev !== true)),
  );

  const program = path.join(into, 'node_modules/.bin/tidegate');
  const tidegate = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(program, args, { cwd: into, input: 'open: sesame\n' });
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  assert.match(await tidegate('--help'), /^Usage: tidegate /);
  for (const command of ['serve', 'reload', 'cert', 'user', 'config', 'cache', 'doctor', 'alert'])
    assert.match(await tidegate(command, '--help'), new RegExp(`^Usage: tidegate ${command} `));
  await tidegate('cert', 'create', '--host', 'localhost', '--ip', '127.0.0.1');
  await tidegate('user', 'add', 'alice', '--file', 'htpasswd');
  const settings = [
    'listen.host=127.0.0.1',
    'listen.port=0',
    'admin.port=',
    'auth.htpasswd=htpasswd',
    'workers=2',
  ];
  const serving = spawn(program, ['serve', ...settings.flatMap((each) => ['--set', each])], {
    cwd: into,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const port = await Promise.race([
      portOf(createInterface({ input: serving.stdout })),
      once(serving, 'exit').then(() => assert.fail('serve ended')),
    ]);
    const curl = ['-sS', '--noproxy', '*', '--cacert', path.join(into, 'certs/ca.crt'), '-o', '/dev/null'];
    for (const [credentials, status] of [
      ['alice:wrong', '401'],
      ['alice:open: sesame', '502'], // past the password, and there is no registry
    ] as const) {
      const url = `https://localhost:${port}/v2/_catalog`;
      const answer = await run('curl', [...curl, '-w', '%{http_code}', '-u', credentials, url]);
      assert.equal(answer.stdout, status, answer.stderr);
    }
  } finally {
    await stop(serving);
  }
  return installed.length;
}

async function portOf(lines: AsyncIterable<string>): Promise<number> {
  for await (const line of lines) {
    const { msg, port } = parseJson(line) as { msg?: string; port?: number };
    if (msg === 'listening' && port !== undefined) return port;
  }
  throw new Error('serve said nothing of listening');
}

/** Neither passed nor failed, and said. @throws Error when it was not for want of an answer. */
function notChecked(what: string, { stdout, stderr }: Finished): number {
  const reason = `${stderr}\n${stdout}`.split('\n').find((line) => noAnswer.test(line));
  if (reason === undefined) throw new Error(`${what}: ${stderr.trim() || stdout.trim()}`);
  console.warn(`    NOT CHECKED: ${what}: ${reason.trim()}`);
  return 0;
}

type Manifest = {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly private?: boolean;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
};

function readManifest(dir: string): Manifest {
  return JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8')) as Manifest;
}

function parseJson(text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch {
    return {};
  }
}

function hexOf(integrity: string): string {
  return Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
}
