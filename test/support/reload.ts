import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { copyCertificate } from './certificate-files.ts';
import type { FrontDoor, LogLine } from './front-door.ts';

/** Waits for a log line that is written from now on; earlier ones do not count. */
export function listenToLog(frontDoor: FrontDoor): FrontDoor['logged'] {
  const from = frontDoor.log.length;
  return (matches) => frontDoor.logged((line) => frontDoor.log.indexOf(line) >= from && matches(line));
}

export const isRefusal = ({ msg }: LogLine): boolean =>
  msg.startsWith('The reload is refused, and the previous');

export const changedKeys = (line: LogLine): string[] => line['changed'] as string[];

/**
 * Sends SIGHUP and waits for what comes of that. The files are watched, too: a line of theirs may be of an earlier change, and
 * what has changed may stand in theirs in place of the signal's, so `changed` is of all lines meanwhile.
 */
export async function sighup(frontDoor: FrontDoor): Promise<LogLine> {
  const from = frontDoor.log.length;
  const logged = listenToLog(frontDoor);
  frontDoor.process.kill('SIGHUP');
  const line = await logged(
    ({ msg, ...fields }) => fields['trigger'] === 'request' && (msg === 'reloaded' || isRefusal({ msg })),
  );
  if (isRefusal(line)) return line;
  const meanwhile = frontDoor.log.slice(from, frontDoor.log.indexOf(line) + 1);
  const changed = meanwhile.flatMap((entry) => (entry.msg === 'reloaded' ? changedKeys(entry) : []));
  return { ...line, changed: [...new Set(changed)] };
}

/** Replaces a file atomically, as careful programs do. */
export async function replaceFile(name: string, content: string): Promise<void> {
  await writeFile(`${name}.new`, content, { mode: 0o600 });
  await rename(`${name}.new`, name);
}

export const replaceConfig = (frontDoor: FrontDoor, text: string): Promise<void> =>
  replaceFile(path.join(frontDoor.dir, 'tidegate.yml'), text);

/** Creates another CA and a certificate of it, in a folder beside the one in use. */
export async function makeOtherCertificate(frontDoor: FrontDoor): Promise<{ dir: string }> {
  const dir = path.join(frontDoor.dir, 'other-certs');
  await copyCertificate(dir, ['localhost', 'other.example']);
  return { dir };
}
