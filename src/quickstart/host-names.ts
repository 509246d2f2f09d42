import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { OperatorError } from '../system/operator-error.ts';
import { parseServerName } from '../tls/server-name.ts';

const loopbackNames = ['localhost', '127.0.0.1', '::1'];

/**
 * The names that the certificate is for, the one for `docker login` first: those asked for, else the machine's own
 * (with its domain, if /etc/hosts knows it), and always the loopback ones.
 * @throws OperatorError when one that was asked for is not a host name or IP address.
 */
export async function chooseHostNames(asked: readonly string[]): Promise<[string, ...string[]]> {
  const wanted = asked.length > 0 ? asked.map((name) => parseServerName(name).value) : await machineNames();
  const [first = 'localhost', ...others] = new Set([...wanted, ...loopbackNames]);
  return [first, ...others];
}

async function machineNames(): Promise<string[]> {
  const own = hostname();
  const hostsFile = await readFile('/etc/hosts', 'utf8').catch(() => '');
  return [own, ...parseHostsFile(hostsFile, own)].flatMap((name) => {
    try {
      return [parseServerName(name).value];
    } catch (error) {
      // Not every machine's name is one that a TLS client could match.
      if (error instanceof OperatorError) return [];
      throw error;
    }
  });
}

/** The names with a domain that hosts(5) gives to a machine. */
function parseHostsFile(text: string, name: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(1))
    .filter((names) => names.includes(name))
    .flatMap((names) => names.filter((each) => each.startsWith(`${name}.`)));
}
