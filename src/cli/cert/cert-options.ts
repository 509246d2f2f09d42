import { InvalidArgumentError } from 'commander';
import { OperatorError } from '../../system/operator-error.ts';
import { parseServerName, type ServerName } from '../../tls/server-name.ts';

/** The option that names the folder of the certificates, for every command of `cert`. */
export const outOption = ['--out <dir>', 'folder of the certificates', 'certs'] as const;

const maxDays = 3650;

/** A parser of a comma-separated list that may be given several times. */
export function collect<T>(parse: (text: string) => T): (text: string, previous?: T[]) => T[] {
  return (text, previous = []) => [
    ...previous,
    ...text.split(',').map((item) => asUsage(() => parse(item.trim()))),
  ];
}

/** Parses one name or address of the server. @throws InvalidArgumentError for a wildcard, too. */
export function parseHost(text: string): ServerName {
  const name = asUsage(() => parseServerName(text));
  if (name.value.startsWith('*.')) throw new InvalidArgumentError('Name one host, not a wildcard.');
  return name;
}

/** Parses a lifetime in days. @throws InvalidArgumentError */
export function parseDays(text: string): number {
  return parseWhole(text, maxDays);
}

/** Parses a TCP port. @throws InvalidArgumentError */
export function parsePort(text: string): number {
  return parseWhole(text, 65_535);
}

function parseWhole(text: string, max: number): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) throw new InvalidArgumentError(`Give a whole number from 1 to ${max}.`);
  return value;
}

/** An invalid option value is wrong usage, not failed work. */
function asUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof OperatorError ? new InvalidArgumentError(error.message) : error;
  }
}
