import type { FrontDoor, LogLine } from './front-door.ts';
import { anonymous, exchange } from './raw-client.ts';

let marks = 0;

/**
 * The log with what one process has to say of all that it has answered. Lines come in order, and later than answers:
 * this waits for the line of a further request, which is one without credentials.
 */
export async function wholeLog(
  frontDoor: Pick<FrontDoor, 'port' | 'ca' | 'log' | 'logged'>,
): Promise<readonly LogLine[]> {
  const mark = `/v2/mark-${(marks += 1)}`;
  await exchange(frontDoor, anonymous(`GET ${mark}`));
  await frontDoor.logged((line) => line['path'] === mark);
  return frontDoor.log;
}
