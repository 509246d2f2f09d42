import assert from 'node:assert/strict';
import { findAdmin } from '../../test/support/admin.ts';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { head } from '../../test/support/http-message.ts';
import { clientHost, connectClient, type Response } from '../../test/support/raw-client.ts';
import { basicOf } from '../../test/support/tokens.ts';

/** A user who has never logged in; bcrypt of "x" at cost 4. */
export const newcomer = 'nina';
export const newcomerLine = `${newcomer}:$2b$04$FuEylWli37OTeB820a9yzuk/GjIj0fJW8WMBLcku14bwBoidUGjK2\n`;
const right = 'x';

const lockedAddress = '127.0.250.1';
const cleanAddress = '127.0.250.2';
const failures = 10;

type Way = (name: string, password: string) => string;
const viaForm: Way = (name, password) => {
  const form = new URLSearchParams({ grant_type: 'password', username: name, password }).toString();
  const type = 'Content-Type: application/x-www-form-urlencoded';
  return head('POST /token HTTP/1.1', `Host: ${clientHost}`, type, `Content-Length: ${form.length}`) + form;
};
const viaHeader =
  (path: string): Way =>
  (name, password) =>
    head(`GET ${path} HTTP/1.1`, `Host: ${clientHost}`, basicOf(name, password));
/** All endpoints that accept a password. */
const ways: readonly Way[] = [viaHeader('/v2/app/blobs/x'), viaHeader('/token'), viaForm];

async function send(frontDoor: FrontDoor, localAddress: string, request: string): Promise<Response> {
  const client = await connectClient(frontDoor, { localAddress });
  try {
    client.send(request);
    return await client.response();
  } finally {
    client.leave();
  }
}

/**
 * Has an address locked out, and then sends the right password of somebody new from there: nobody can tell it from a wrong one,
 * nothing is hashed for it, and elsewhere it is good (docs/operations/attacks.md). Gives how many passwords were sent.
 * @throws Error
 */
export async function tryLockedOut(frontDoor: FrontDoor): Promise<number> {
  const admin = await findAdmin(frontDoor);
  const countHashes = async () => (await admin.metrics()).get('tidegate_password_wait_seconds_count') ?? NaN;
  const before = await countHashes();
  let tried = 0;
  const ask = (address: string, way: Way, password: string, name = newcomer) => {
    tried += 1;
    return send(frontDoor, address, way(name, password));
  };
  for (let i = 0; i < failures; i += 1) {
    const way = ways[i % ways.length] ?? viaForm;
    const { status } = await ask(lockedAddress, way, 'guess', `stranger${i}`);
    assert.equal(status, way === viaForm ? 400 : 401, 'a guess before the lock-out');
  }
  const hashed = await countHashes();
  assert.ok(hashed >= before + failures, `${hashed - before} guesses were hashed`);

  for (const way of ways) {
    const answers = await Promise.all([right, 'wrong'].map((password) => ask(lockedAddress, way, password)));
    const locked = answers.map(({ status }) => status);
    assert.deepEqual(
      locked,
      [429, 429],
      'the right password, and a wrong one, from an address that is locked out',
    );
    const [one, other] = await Promise.all(answers.map((answer) => describe(frontDoor, answer)));
    assert.deepEqual(one, other, 'the right password can be told from a wrong one');
  }
  assert.equal(await countHashes(), hashed, 'a password was hashed for an address that is locked out');

  const statuses = [];
  for (const way of ways) statuses.push((await ask(cleanAddress, way, right)).status);
  // It has been right now, which counts wherever it comes from; a wrong one goes on being refused.
  for (const password of [right, 'wrong'])
    statuses.push((await ask(lockedAddress, viaHeader('/v2/app/blobs/x'), password)).status);
  assert.deepEqual(statuses, [200, 200, 200, 200, 429], 'from elsewhere, and then from there');
  return tried;
}

/** An answer and its log line, without what differs in every request. */
async function describe(frontDoor: FrontDoor, { head: text, body }: Response): Promise<unknown> {
  const id = /"detail":"request id (\w+)"/.exec(body.toString())?.[1] ?? '';
  const line = await frontDoor.logged((each) => each['requestId'] === id && 'status' in each);
  const strip = (part: string) =>
    part
      .replaceAll(id, 'ID')
      .replace(/^(date|retry-after):.*$/gim, '$1')
      .replace(/\d+ seconds/, 'N seconds');
  const logged = Object.entries(line).filter(([name]) => !/^(?:time|requestId)$|Ms$/.test(name));
  return [strip(text), strip(body.toString()), logged];
}
