import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { startFrontDoor, type FrontDoor } from '../../test/support/front-door.ts';
import { values } from '../../test/support/http-message.ts';
import { authorized, connectClient, exchange, type RawClient } from '../../test/support/raw-client.ts';
import { pushBlob, sha256 } from '../../test/support/stored-blobs.ts';
import type { Trial } from '../trial.ts';
import { readHoldings, untilBack } from './leak-check.ts';
import { startMortalRegistry } from './mortal-registry.ts';
import { longestMs, readTimeoutMs, type UpstreamRig } from './upstream-rig.ts';
import { within } from './within.ts';

const blobBytes = 24 * 1024 * 1024;
/** So far a transfer has come when the registry ends; the rest is more than the sockets on the way hold. */
const middleBytes = 2 * 1024 * 1024;
const transfersEach = 5;
const repository = 'team/app';

/** A transfer that stands still in the middle; `finish` goes on, and says what became of it. */
type Halved = { finish(): Promise<void> };

async function beginPull(frontDoor: FrontDoor, bytes: Buffer, breaks: boolean): Promise<Halved> {
  const client = await connectClient(frontDoor);
  client.send(authorized(`GET /v2/${repository}/blobs/${sha256(bytes)}`));
  const { status } = await client.responseHead();
  assert.equal(status, 200, 'the beginning of a pull');
  const first = await client.reader.take(middleBytes);
  return {
    finish: async () => {
      const rest = within(longestMs, 'a pull', receive(client, bytes.length - first.length));
      const received = Buffer.concat([first, ...(await rest.finally(() => client.leave()))]);
      assert.ok(
        received.equals(bytes.subarray(0, received.length)),
        'a pull got bytes that are not the blob',
      );
      assert.equal(received.length === bytes.length, !breaks, `a pull got ${received.length} bytes`);
    },
  };
}

/** So many bytes, or fewer if the connection ends before. */
async function receive({ reader }: RawClient, length: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for (let left = length; left > 0;) {
    const piece = await reader.some();
    if (piece === null) break;
    pieces.push(piece);
    left -= piece.length;
  }
  return pieces;
}

async function beginPush(frontDoor: FrontDoor, pulled: Buffer, breaks: boolean): Promise<Halved> {
  const bytes = Buffer.from(pulled);
  randomBytes(16).copy(bytes); // so it is another blob
  const begun = await exchange(
    frontDoor,
    authorized(`POST /v2/${repository}/blobs/uploads/`, 'Content-Length: 0'),
  );
  assert.equal(begun.status, 202, 'the beginning of a push');
  const place = (response: typeof begun) => {
    const { pathname, search } = new URL(values(response, 'location')[0] ?? '');
    return `${pathname}${search}`;
  };
  const client = await connectClient(frontDoor);
  client.send(authorized(`PATCH ${place(begun)}`, `Content-Length: ${bytes.length}`));
  await write(client, bytes.subarray(0, middleBytes));
  return {
    finish: async () => {
      const response = within(longestMs, 'a push', client.response('PATCH'));
      void write(client, bytes.subarray(middleBytes));
      const { status, complete, ...rest } = await response.finally(() => client.leave());
      assert.ok(complete, 'the answer to a push is not whole');
      assert.equal(status, breaks ? 502 : 202, 'the answer to a push');
      if (breaks) return;
      const end = `PUT ${place({ status, complete, ...rest })}&digest=${sha256(bytes)}`;
      const ended = await exchange(frontDoor, authorized(end, 'Content-Length: 0'));
      assert.equal(ended.status, 201, 'the end of a push, at which the registry has hashed it');
    },
  };
}

/** Resolves when all of it has been handed to the kernel, or the connection is gone. */
const write = ({ socket }: RawClient, bytes: Buffer) =>
  new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.write(bytes, () => resolve());
  });

async function runRestarts(rounds: number): Promise<number> {
  const registry = await startMortalRegistry();
  const frontDoor = await startFrontDoor({
    upstreamUrl: registry.url,
    // The record of usage opens its files when something is first pulled, and they would seem to leak.
    set: [`upstream.readTimeout=${5 * readTimeoutMs}ms`, 'state.usage=false'],
  });
  try {
    const bytes = randomBytes(blobBytes);
    await pushBlob(registry.url, repository, bytes);
    const transferAll = async (breaks: boolean, inTheMiddle: () => Promise<void>) => {
      const begun = await Promise.all(
        Array.from({ length: transfersEach }, () => [
          beginPull(frontDoor, bytes, breaks),
          beginPush(frontDoor, bytes, breaks),
        ]).flat(),
      );
      await inTheMiddle();
      await Promise.all(begun.map((each) => each.finish()));
    };
    await exchange(frontDoor, authorized('GET /v2/'));
    const before = await readHoldings(frontDoor.pid);
    for (let round = 0; round < rounds; round++) {
      await transferAll(true, () => registry.end(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM'));
      const { status } = await exchange(frontDoor, authorized(`GET /v2/${repository}/tags/list`));
      assert.equal(status, 502, 'while there is no registry');
      await registry.start();
      await transferAll(false, () => Promise.resolve());
    }
    await untilBack(frontDoor.pid, before);
    return rounds * 2 * (2 * transfersEach);
  } finally {
    await frontDoor.stop();
    await registry.remove();
  }
}

/** A real registry that ends in the middle of ten transfers, and comes back. */
export function upstreamRestarts({ form, bystander }: UpstreamRig): Trial {
  const rounds = { quick: 1, ci: 6, long: 20 }[form];
  return {
    name: 'a real registry restarts in the middle of ten transfers: each is cut or 502, and then all are whole',
    // It is another Tidegate, and what is sent keeps this process busy.
    run: () => bystander.aside(() => runRestarts(rounds)),
  };
}
