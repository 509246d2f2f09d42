import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findCertificateFiles } from '../../app/pem-files.ts';
import type { LoadedConfig } from '../../config/load/load.ts';
import { codeOf } from '../failure.ts';
import { broken, ok, skipped, warning, type Finding } from '../finding.ts';

/** A file's permission bits, or why they are unknown; null for a missing file. */
export type FileMode = number | { readonly failure: string } | null;

const othersRead = 0o004;
const othersWrite = 0o002;

/** Checks the modes of key, users, configuration and other private files. */
export async function checkFileModes({ config, configPath, settings }: LoadedConfig): Promise<Finding[]> {
  const { certPath, keyPath } = findCertificateFiles(config);
  const caKeyPath = join(dirname(certPath), 'ca.key');
  const findings = [
    judgeSecret('files.key', 'TLS key', keyPath, await readMode(keyPath)),
    judgeCaKey(caKeyPath, await readMode(caKeyPath)),
    judgeHtpasswdMode(config.auth.htpasswd, await readMode(config.auth.htpasswd)),
  ];
  if (configPath === null) {
    return [...findings, skipped('files.config', 'There is no configuration file.')];
  }
  const text = await readFile(configPath, 'utf8').catch(() => '');
  const places = ['upstream.password', 'cache.redis.password', 'alerts.smtp.password', 'alerts.webhook'].map(
    (key) => settings.get(key)?.place,
  );
  return [...findings, judgeConfigMode(configPath, await readMode(configPath), holdsSecret(text, places))];
}

/** Reads a file's permission bits, through links. */
async function readMode(path: string): Promise<FileMode> {
  try {
    return (await stat(path)).mode & 0o7777;
  } catch (error) {
    const code = codeOf(error);
    return code === 'ENOENT' ? null : { failure: code ?? String(error) };
  }
}

/** Whether one of the places (`file:line`) holds a value itself, not the name of a variable. */
export function holdsSecret(text: string, places: readonly (string | undefined)[]): boolean {
  const lines = text.split('\n');
  return places.some((place) => {
    const number = Number(/:(\d+)$/.exec(place ?? '')?.[1] ?? 0);
    return number > 0 && !(lines[number - 1] ?? '').includes('_env:');
  });
}

/** Judges the mode of a private key. */
export function judgeSecret(check: string, name: string, path: string, mode: FileMode): Finding {
  const gap = judgeGap(check, name, path, mode);
  if (gap !== null) return gap;
  const bits = Number(mode);
  if ((bits & (othersRead | othersWrite)) === 0) {
    return ok(check, `The ${name} ${path} is closed to other users (${octal(bits)}).`);
  }
  return broken(
    check,
    `The ${name} ${path} can be ${(bits & othersWrite) === 0 ? 'read' : 'changed'} by every user of this machine (${octal(bits)}).`,
    `chmod o= ${path}; if the machine is shared, make a new key: tidegate cert create --force`,
  );
}

/** Judges a CA key beside the certificate: it is needed to renew, not to serve. */
export function judgeCaKey(path: string, mode: FileMode): Finding {
  const check = 'files.ca-key';
  if (mode === null) return ok(check, "The CA's key is not on this server.");
  const verdict = judgeSecret(check, "CA's key", path, mode);
  if (verdict.state !== 'ok') return verdict;
  return ok(
    check,
    `${verdict.what.slice(0, -1)}, but lies on the server.`,
    `it is needed only to renew: keep ${path} elsewhere, since whoever has it can pose as any server`,
  );
}

/** Judges the mode of the htpasswd file. */
export function judgeHtpasswdMode(path: string, mode: FileMode): Finding {
  const check = 'files.htpasswd';
  const gap = judgeGap(check, 'htpasswd file', path, mode);
  if (gap !== null) return gap;
  const bits = Number(mode);
  if ((bits & othersWrite) !== 0) {
    return broken(
      check,
      `The htpasswd file ${path} can be changed by every user of this machine (${octal(bits)}): they can add themselves.`,
      `chmod o= ${path}, and see that nobody has been added: tidegate user list --file ${path}`,
    );
  }
  if ((bits & othersRead) !== 0) {
    return warning(
      check,
      `The htpasswd file ${path} can be read by every user of this machine (${octal(bits)}), who can then guess passwords at leisure.`,
      `chgrp tidegate ${path} && chmod 640 ${path}`,
    );
  }
  return ok(check, `The htpasswd file ${path} is closed to other users (${octal(bits)}).`);
}

/** Judges the mode of the configuration file; `hasSecret`: it contains a password. */
export function judgeConfigMode(path: string, mode: FileMode, hasSecret: boolean): Finding {
  const check = 'files.config';
  const gap = judgeGap(check, 'configuration file', path, mode);
  if (gap !== null) return gap;
  const bits = Number(mode);
  if ((bits & othersWrite) !== 0) {
    return broken(
      check,
      `The configuration file ${path} can be changed by every user of this machine (${octal(bits)}).`,
      `chmod o-w ${path}`,
    );
  }
  if (hasSecret && (bits & othersRead) !== 0) {
    return broken(
      check,
      `${path} holds a password, and every user of this machine can read it (${octal(bits)}).`,
      'write _env:NAME in its place and give the service the variable (EnvironmentFile=), then choose another password',
    );
  }
  return ok(check, `The configuration file ${path} can be changed by its owner alone (${octal(bits)}).`);
}

function judgeGap(check: string, name: string, path: string, mode: FileMode): Finding | null {
  // The checks of its content report it as missing.
  if (mode === null) return skipped(check, `The ${name} ${path} does not exist.`);
  if (typeof mode === 'number') return null;
  return skipped(check, `The ${name} ${path} cannot be checked (${mode.failure}).`, 'run it as root');
}

function octal(bits: number): string {
  return bits.toString(8).padStart(4, '0');
}
