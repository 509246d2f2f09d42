import os from 'node:os';
import { run } from '../src/quickstart/step.mjs';

/**
 * Describes the machine and the programs, one line each.
 * @param {readonly { program: string, package: string }[]} programs
 * @param {number} load the machine's, before the start
 */
export async function describeMachine(programs, load) {
  const packages = [...new Set(programs.map((each) => each.package))];
  const versions = await Promise.all(
    packages.map(async (name) => {
      // If a program is not from a package, only its name.
      const version = await run('dpkg-query', ['-W', '-f', '${Version}', name]).catch(() => '');
      return `${name} ${version}`.trim();
    }),
  );
  const cpus = os.cpus();
  const isBusy = load > cpus.length / 4;
  return [
    `Machine: ${cpus.length} cores, ${cpus[0]?.model.trim() ?? 'unknown'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()}; clients, front doors and the registry all run on it`,
    `Programs: node ${process.versions.node} with OpenSSL ${process.versions.openssl}; ${versions.join(', ')}`,
    `Load before the start: ${load.toFixed(2)}${isBusy ? '. **The machine was busy: these figures are provisional.**' : ''}`,
  ];
}
