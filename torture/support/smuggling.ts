import { connect } from 'node:tls';
import { basic, startFrontDoor, type FrontDoor } from '../../test/support/front-door.ts';
import { authorized, connectClient, type RawClient } from '../../test/support/raw-client.ts';
import { atOnce } from './at-once.ts';
import { readHoldings, untilBack } from './leak-check.ts';
import { createRandom } from './random.ts';
import { startRecordingUpstream } from './recording-upstream.ts';
import {
  caseRoot,
  drawForms,
  listForms,
  writeCase,
  listNamed,
  type SmugglingCase,
} from './smuggling-cases.ts';
import {
  readAnswers,
  readRequests,
  valuesOf,
  type StrictMessage,
  type StrictReading,
} from './strict-http.ts';

/** Tidegate, an upstream with a strict parser, and victims who share upstream connections with the attackers. */
export type SmugglingRig = {
  /** Describes what went wrong with each of these cases. */
  attack(cases: Iterable<SmugglingCase>): Promise<{ count: number; faults: string[] }>;
  /** How many requests of victims were answered, and how many of them came over a connection that an attacker had used. @throws Error when none came over a connection that an attacker had used, or when more is held than before. */
  close(): Promise<{ answered: number; exposed: number }>;
};

type Watched = { readonly reading: StrictReading; taken: number };

const attackersAtOnce = 48;
const victims = 2;
/** At the end, at once, again and again. */
const lateVictims = 12;
const maxRounds = 20;

export async function openSmugglingRig(): Promise<SmugglingRig> {
  /** By the number in their targets: what was sent, strictly read, and how much of it has come to upstream. */
  const watched = new Map<number, Watched>();
  const faults: string[] = [];
  /** Connections of upstream that an attacker has used, and how many requests of victims came over one after that. */
  const attacked = new WeakSet<object>();
  /** Cases of which something came to upstream. */
  const arrived = new Set<number>();
  let exposed = 0;
  const upstream = await startRecordingUpstream((request, isWhole, connection) => {
    const number = Number(/^\/v2\/case-(\d+)\//.exec(request.target)?.[1] ?? NaN);
    const sent = watched.get(number);
    if (sent === undefined) {
      if (!request.target.startsWith('/v2/victim')) faults.push(`upstream got ${request.startLine}`);
      if (attacked.has(connection)) exposed += 1;
      return;
    }
    attacked.add(connection);
    arrived.add(number);
    const fault = judge(sent, request, isWhole);
    if (fault !== null) faults.push(`case ${number}: ${fault}`);
  });
  const frontDoor = await startFrontDoor({
    upstreamUrl: upstream.url,
    set: [
      ...['limits.refusedBodyTimeout=100ms', 'limits.idleTimeout=700ms', 'limits.headerTimeout=700ms'],
      ...['limits.keepAliveTimeout=700ms', 'cache.driver=off', 'log.audit=false'],
    ],
  }).catch(async (error: unknown) => {
    await upstream.close();
    throw error;
  });
  const before = await readHoldings(frontDoor.pid);
  let isOver = false;
  let answeredVictims = 0;
  const ask = async (client: RawClient, name: number | string) => {
    const target = `/v2/victim-${name}/${answeredVictims}`;
    client.send(authorized(`GET ${target}`));
    const { status, body } = await client.response();
    if (status !== 200 || body.toString() !== target)
      throw new Error(`a victim asked for ${target} and got ${status} ${body.toString()}`);
    answeredVictims += 1;
  };
  const victim = async (name: number) => {
    const client = await connectClient(frontDoor);
    while (!isOver) await ask(client, name);
    client.leave();
  };
  /** More of them at once use more of the connections to upstream that attackers have left: until one has. */
  const crowd = async () => {
    const before = exposed;
    const one = async () => {
      const client = await connectClient(frontDoor);
      await ask(client, 'late').finally(() => client.leave());
    };
    for (let round = 0; round < maxRounds && exposed === before; round += 1)
      await Promise.all(Array.from({ length: lateVictims }, one));
  };
  const running = Array.from({ length: victims }, (_, name) => victim(name));
  const victimsEnd = Promise.all(running).then(
    () => null,
    (error: unknown) => String(error),
  );

  const one = async ({ bytes, cutAt, name }: SmugglingCase, number: number) => {
    const reading = readRequests(bytes, 'several');
    watched.set(number, { reading, taken: 0 });
    const { received, isHung } = await sendRaw(frontDoor, bytes, cutAt);
    const fault = isHung ? 'the connection stayed open' : judgeAnswers(reading, received, number);
    if (fault !== null)
      faults.push(
        `${fault}: case ${number} ${name}, sent ${JSON.stringify(bytes)}, got ${JSON.stringify(received)}`,
      );
  };

  return {
    attack: async (cases) => {
      faults.length = 0;
      arrived.clear();
      let count = 0;
      await atOnce(attackersAtOnce, cases, async (item) => {
        count += 1;
        await one(item, Number(/\/v2\/case-(\d+)\//.exec(item.bytes)?.[1]));
      });
      await upstream.settled();
      await crowd();
      // Many forms are no HTTP at all, but if hardly any is, it is the trial that is wrong.
      if (100 * arrived.size < count) faults.push(`only ${arrived.size} of ${count} cases came to upstream`);
      return { count, faults: [...faults, ...upstream.faults] };
    },
    close: async () => {
      isOver = true;
      const fault = await victimsEnd;
      const { exitCode, signalCode } = frontDoor.process;
      const bad = frontDoor.log.find(({ level }) => Number(level) >= 50);
      // Connections to upstream are kept for a while, as many as there were requests at once.
      const descriptors = before.descriptors + attackersAtOnce + victims + lateVictims;
      const leak = await untilBack(frontDoor.pid, { ...before, descriptors }).catch(String);
      await frontDoor.stop();
      await upstream.close();
      if (leak !== undefined && exitCode === null && signalCode === null) throw new Error(leak);
      if (fault !== null) throw new Error(fault);
      if (exitCode !== null || signalCode !== null)
        throw new Error(`the front door ended: ${exitCode ?? signalCode}`);
      if (bad) throw new Error(`the front door logged ${JSON.stringify(bad)}`);
      if (exposed === 0)
        throw new Error("no victim came over an attacker's connection to upstream: nothing was tried");
      return { answered: answeredVictims, exposed };
    },
  };
}

/** The attacks with names, forms by themselves and pairs, as many as are wanted, and then several at once. */
export function* listCases(
  seed: number,
  { singles, pairs, drawn }: { singles: number; pairs: number; drawn: number },
): Generator<SmugglingCase, void> {
  const random = createRandom(seed);
  const forms = listForms(random, singles, pairs);
  const named = listNamed();
  yield* named;
  let number = named.length;
  for (const parts of forms) yield writeCase(number++, parts);
  for (let i = 0; i < drawn; i += 1) {
    yield writeCase(number, drawForms(random.fork(number)));
    number += 1;
  }
}

/** Whether upstream may have got this: a request that was sent with a password, in the order in which they were sent. */
function judge(sent: Watched, request: StrictMessage, isWhole: boolean): string | null {
  const { messages, begun } = sent.reading;
  const candidates = isWhole || begun === null ? messages : [...messages, begun];
  const at = candidates.findIndex(
    ({ method, target }, index) =>
      index >= sent.taken && method === request.method && target === request.target,
  );
  const original = candidates[at];
  if (original === undefined) return `upstream got ${request.startLine}, which nobody had sent`;
  sent.taken = at + 1;
  if (valuesOf(original.fields, 'authorization').join() !== basic)
    return `upstream got ${request.startLine}, which had come without a password`;
  if (isWhole && request.body !== original.body)
    return `upstream got ${request.startLine} with the body ${JSON.stringify(request.body)}`;
  return null;
}

/** Whether each answer is to what was asked, and there is none too many: one for each request, and one for what is none. */
function judgeAnswers(reading: StrictReading, received: string, number: number): string | null {
  const { messages, begun } = reading;
  const asked = begun === null ? messages : [...messages, begun];
  const answers = readAnswers(
    received,
    asked.map(({ method }) => method),
    true,
  );
  if (answers.rest === 'invalid') return `an answer is not valid (${answers.why})`;
  if (answers.messages.length > asked.length + (reading.rest === 'nothing' ? 0 : 1))
    return 'too many answers';
  for (const [at, { startLine, body }] of answers.messages.entries()) {
    if (startLine.startsWith('HTTP/1.1 500')) return 'a 500';
    if (!startLine.startsWith('HTTP/1.1 2')) continue;
    const request = asked[at];
    if (request === undefined) return 'an answer to nothing';
    if (request.method !== 'HEAD' && body !== request.target)
      return `the answer to ${request.target} was that to ${body}`;
    if (!body.startsWith(caseRoot(number)) && body !== '') return "an answer of somebody else's";
  }
  return null;
}

/** Sends bytes in one piece or two, and reads until the connection is closed, which it must be in a few seconds. */
export async function sendRaw(
  { port, ca }: Pick<FrontDoor, 'port' | 'ca'>,
  bytes: string,
  cutAt = bytes.length,
): Promise<{ received: string; isHung: boolean }> {
  const socket = connect({ host: '127.0.0.1', port, ca, servername: 'localhost' });
  const chunks: Buffer[] = [];
  let isHung = false;
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.once('secureConnect', () => {
    // Each is a record of TLS, and so given to the parser by itself.
    for (const piece of [bytes.slice(0, cutAt), bytes.slice(cutAt)])
      if (piece !== '') socket.write(Buffer.from(piece, 'latin1'));
  });
  const timer = setTimeout(() => {
    isHung = true;
    socket.destroy();
  }, longestMs);
  await new Promise((resolve) => socket.once('close', resolve)); // not once(), which a reset would have reject
  clearTimeout(timer);
  return { received: Buffer.concat(chunks).toString('latin1'), isHung };
}

/** Much longer than any limit that was set, since the machine may be busy. */
const longestMs = 20_000;
