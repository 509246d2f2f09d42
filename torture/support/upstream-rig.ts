import assert from 'node:assert/strict';
import type { FrontDoor } from '../../test/support/front-door.ts';
import { authorized } from '../../test/support/raw-client.ts';
import type { Form, Trial } from '../trial.ts';
import { measureAnswers, type AnswerTimes } from './answer-times.ts';
import type { Bystander } from './bystander.ts';
import type { Ending, FaultyUpstream } from './faulty-upstream.ts';
import { inLanes, type Lane, type Seen } from './lane.ts';
import type { Random } from './random.ts';
import type { RecordedExchange } from './recorded-exchanges.ts';

/** The rig of the trials of upstream's faults. */
export type UpstreamRig = {
  readonly form: Form;
  readonly random: Random;
  readonly frontDoor: FrontDoor;
  readonly upstream: FaultyUpstream;
  readonly bystander: Bystander;
  readonly exchanges: readonly RecordedExchange[];
  /** A blob in the folder that Tidegate reads. */
  readonly stored: { readonly repository: string; readonly digest: string; readonly bytes: Buffer };
};

/** `upstream.readTimeout` of Tidegate. */
export const readTimeoutMs = 2000;
/** The time after which an answer hangs. On a quiet machine all arrive a few milliseconds after the timeout. */
export const longestMs = 20_000;

/** A trial that reports what clients saw and when: at once, unless upstream is silent. */
export const timed = (name: string, run: (times: AnswerTimes) => Promise<number>): Trial => ({
  name,
  run: () => measureAnswers(name, readTimeoutMs / 2, run),
});

/** The bytes of a recorded request, under a case's number. */
export function requestOf(exchange: RecordedExchange, id: number): (string | Buffer)[] {
  const { method, target, lines, requestBody } = exchange;
  const length = method === 'GET' || method === 'HEAD' ? [] : [`Content-Length: ${requestBody.length}`];
  return [authorized(`${method} /v2/case-${id}/${target}`, ...lines, ...length), requestBody];
}

/** Whether an answer is the recorded one, complete. */
export const isRecorded = (seen: Seen, { method, status, body }: RecordedExchange): boolean =>
  seen.kind === 'answer' &&
  seen.status === status &&
  (method === 'HEAD' ? seen.body.length === 0 : seen.body.equals(body));

/** Whether a partial answer is the beginning of the recorded one. */
export const isPartOf = (seen: Seen, { status, body }: RecordedExchange): boolean =>
  seen.kind === 'cut' &&
  (seen.status === 0 || seen.status === status) &&
  seen.body.equals(body.subarray(0, seen.body.length));

/** Whether it is the error for a broken upstream. */
export const isBadGateway = (seen: Seen): boolean => seen.kind === 'error' && seen.status === 502;

/** Describes what a client saw, so that it can be repeated. */
export const describe = ({ kind, status, body }: Seen): string =>
  `${kind} ${status} with ${body.length} bytes: ${JSON.stringify(body.toString('latin1', 0, 120))}`;

/** The same in short, without what differs between cases. */
export const summarize = ({ kind, status }: Pick<Seen, 'kind' | 'status'>): string =>
  kind === 'cut' ? 'a cut' : `${kind === 'error' ? 'our' : "upstream's"} ${status}`;

/** One fault, for one request. */
export type Case = {
  readonly exchange: RecordedExchange;
  readonly what: string;
  readonly bytes: readonly Buffer[];
  readonly ending: Ending;
  readonly isRight: (seen: Seen) => boolean;
};

/** Puts each case through, many at a time; writes must have come to upstream exactly once. */
export async function runCases(
  rig: UpstreamRig,
  times: AnswerTimes,
  cases: Iterable<Case>,
  lanes = 8,
): Promise<number> {
  const { upstream, frontDoor, bystander } = rig;
  const attempt = async (lane: Lane, { exchange, what, bytes, ending, isRight }: Case) => {
    const id = upstream.plan({ bytes, ending, readsBody: true });
    const seen = await lane.ask(...requestOf(exchange, id));
    assert.ok(isRight(seen), `${exchange.name}, ${what}: the client saw ${describe(seen)}`);
    times.add(summarize(seen), seen.ms, ending === 'silence');
    // For everybody, and so for a HEAD too, the cache asks with GET.
    const came = upstream.seen(id, exchange.method) || upstream.seen(id, 'GET');
    // A read is tried again where a connection was stale, and asked again for this client alone where the cache cannot share the answer.
    const most =
      exchange.method !== 'GET' && exchange.method !== 'HEAD'
        ? 1
        : exchange.name.includes(', cached')
          ? 4
          : 2;
    assert.ok(came >= 1 && came <= most, `${exchange.name}, ${what}: upstream got it ${came} times`);
    upstream.forget(id);
  };
  const count = await inLanes(frontDoor, { lanes, longestMs }, cases, attempt);
  upstream.closeIdle();
  bystander.check();
  return count;
}
