import fs from 'node:fs';
import path from 'node:path';
import { waitForLock } from './lock.mjs';
import { Interruption, run, step } from './step.mjs';

const policyFile = '/usr/sbin/policy-rc.d';
const policyText = `#!/bin/sh
# Written by Tidegate while it installs packages, removed right after: their services stay stopped.
exit 101
`;

/**
 * Says why the packages of these programs may not be installed from here, and how to get them, in one sentence;
 * undefined when they may: on Debian or Ubuntu as root, with `install`.
 * @param {readonly { program: string, package: string }[]} wanted
 * @param {{ install: boolean }} options
 * @returns {string | undefined}
 */
export function whyNotInstall(wanted, { install }) {
  const programs = wanted.map(({ program }) => program).join(', ');
  const command = `apt-get install --no-install-recommends ${packageNames(wanted).join(' ')}`;
  if (!isDebian()) {
    return `Install ${programs} with this system's package manager (on Debian: ${command}).`;
  }
  if (!install) return `Install ${programs} as root (this run may not install packages): ${command}`;
  if (process.getuid() !== 0) return `Install ${programs} as root: sudo ${command}`;
  return undefined;
}

/**
 * Installs the packages of missing programs, on Debian or Ubuntu as root and with `install`; elsewhere says in a
 * sentence what is missing and how to get it.
 * @param {readonly { program: string, package: string }[]} wanted
 * @param {{ install: boolean }} options
 * @returns {Promise<{ program: string, package: string }[]>} those that are still missing
 */
export async function ensureDebianPackages(wanted, { install }) {
  const missing = wanted.filter(({ program }) => findProgram(program) === undefined);
  if (missing.length === 0) return [];
  const refusal = whyNotInstall(missing, { install });
  if (refusal !== undefined) {
    console.log(`Missing on this machine: ${missing.map(({ program }) => program).join(', ')}. ${refusal}`);
    return missing;
  }
  const packages = packageNames(missing);
  await step(`Debian packages ${packages.join(', ')}`, async (say) => {
    const release = await waitForLock('/run/tidegate-packages.lock', (pid) =>
      say(`waiting for process ${pid}, which is installing packages too`),
    );
    try {
      await installPackages(packages, say);
    } finally {
      release();
    }
    return { outcome: 'installed' };
  });
  return missing.filter(({ program }) => findProgram(program) === undefined);
}

/**
 * Finds a program as root's login shell would; undefined when there is none.
 * @param {string} name
 * @returns {string | undefined}
 */
export function findProgram(name) {
  const folders = [
    ...(process.env.PATH ?? '').split(path.delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
  ];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        fs.accessSync(file, fs.constants.X_OK);
        return fs.statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

function packageNames(wanted) {
  return [...new Set(wanted.map((each) => each.package))];
}

function isDebian() {
  try {
    const { ID = '', ID_LIKE = '' } = Object.fromEntries(
      fs
        .readFileSync('/etc/os-release', 'utf8')
        .split('\n')
        .map((line) => line.replaceAll('"', '').split('=')),
    );
    return /\b(debian|ubuntu)\b/.test(`${ID} ${ID_LIKE}`) && findProgram('apt-get') !== undefined;
  } catch {
    return false;
  }
}

async function installPackages(packages, say) {
  const options = [
    ['-y', '-q'],
    ['-o', 'DPkg::Lock::Timeout=300'],
    ['-o', 'Dpkg::Use-Pty=0'],
  ].flat();
  // NEEDRESTART_SUSPEND: Ubuntu's needrestart would otherwise restart services that have nothing to do with this.
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: 'noninteractive',
    NEEDRESTART_SUSPEND: '1',
    LC_ALL: 'C.UTF-8',
  };
  const onLine = (line) => {
    if (/^(Get:|Unpacking |Setting up |E: |W: |Waiting for )/.test(line)) say(line);
  };
  const update = () => run('apt-get', [...options, 'update'], { env, onLine });
  const install = (...more) =>
    run('apt-get', [...options, 'install', '--no-install-recommends', ...more, ...packages], { env, onLine });

  let updated = false;
  if (!(await haveCandidates(packages, env))) {
    say('fetching the package lists');
    await update();
    updated = true;
  }
  let newPackages = parseNewPackages(await install('--simulate'));
  const allowServices = forbidServices();
  try {
    await install().catch(async (error) => {
      // Old package lists name versions that the mirror no longer has.
      if (updated || error instanceof Interruption) throw error;
      say('fetching the package lists anew, since the installation failed');
      await update();
      newPackages = parseNewPackages(await install('--simulate'));
      await install();
    });
  } finally {
    allowServices();
    await disableUnits(newPackages);
  }
}

async function haveCandidates(packages, env) {
  const policy = await run('apt-cache', ['policy', ...packages], { env });
  return packages.every((name) => {
    const candidate = new RegExp(`^${name.replace(/[.+]/g, '\\$&')}:\\n.*\\n +Candidate: (.+)$`, 'm').exec(
      policy,
    );
    return candidate !== null && candidate[1] !== '(none)';
  });
}

/** `apt-get --simulate` prints "Inst NAME (VERSION …)" for what is new, and "Inst NAME [OLD] (…" for an upgrade. */
function parseNewPackages(simulation) {
  return [...simulation.matchAll(/^Inst (\S+) \(/gm)].map((match) => match[1]);
}

/** Forbids maintainer scripts to start services (invoke-rc.d(8)); returns a function that allows it again. */
function forbidServices() {
  try {
    fs.writeFileSync(policyFile, policyText, { flag: 'wx', mode: 0o755 });
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    // Keeps a foreign policy. One written here was left behind by a killed run: only one runs at a time.
    if (fs.readFileSync(policyFile, 'utf8') !== policyText) return () => undefined;
  }
  const allow = () => {
    process.off('exit', allow);
    fs.rmSync(policyFile, { force: true });
  };
  process.on('exit', allow);
  return allow;
}

/** With systemd, keeps the services of the new packages from starting at the next boot. */
async function disableUnits(newPackages) {
  if (!fs.existsSync('/run/systemd/system')) return;
  for (const name of newPackages) {
    // After an interrupted installation a package may have no list of files.
    const files = await run('dpkg', ['-L', name]).catch(() => '');
    const units = [...files.matchAll(/\/lib\/systemd\/system\/([^/@\s]+\.(?:service|socket|timer))$/gm)];
    if (units.length === 0) continue;
    await run('systemctl', ['--root=/', '--quiet', 'disable', ...units.map((match) => match[1])]);
  }
}
