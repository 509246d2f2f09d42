import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { OperatorError } from '../system/operator-error.ts';
import { parseServerName } from '../tls/server-name.ts';

const loopbackNames = ['localhost', '127.0.0.1', '::1'];

/**
 * Chooses the certificate's names, the one for `docker login` first: the requested ones, else the machine's own (with
 * its domain, if /etc/hosts knows it), and always the loopback names.
 * @throws OperatorError when a requested name is not a host name or IP address.
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
      // Not every machine name can be matched by TLS clients.
      if (error instanceof OperatorError) return [];
      throw error;
    }
  });
}

/** Finds the machine's names with a domain in hosts(5). */
function parseHostsFile(text: string, name: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(1))
    .filter((names) => names.includes(name))
    .flatMap((names) => names.filter((each) => each.startsWith(`${name}.`)));
}
