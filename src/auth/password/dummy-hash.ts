import { createHmac, randomBytes } from 'node:crypto';
import type { HtpasswdEntry } from '../htpasswd/htpasswd.ts';

/** A bcrypt hash of cost 10 of a random password that nobody knows, for a file without any usable user. */
const hashForNobody = '$2y$10$Y4KQRe03G3r3CxuEtoOXFOVVZ6L72/Py4lPjle1WGHfzICPmyD31.';

/**
 * Creates the choice of the hash that an unknown name is checked against, so that it costs what a known one does.
 *
 * A fixed hash would tell them apart as soon as a file mixes kinds. The choice is spread over the usable entries by a
 * keyed hash of the name: always the same for one name, not to be foretold, and as often slow or fast as the users are.
 */
export function createDummyHashChoice(): (name: string, usable: readonly HtpasswdEntry[]) => string {
  const secret = randomBytes(32);
  return (name, usable) => {
    const number = createHmac('sha256', secret).update(name).digest().readUIntBE(0, 6);
    return usable[number % usable.length]?.hash ?? hashForNobody;
  };
}
