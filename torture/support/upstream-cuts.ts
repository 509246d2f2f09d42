import assert from 'node:assert/strict';
import { authorized } from '../../test/support/raw-client.ts';
import type { Trial } from '../trial.ts';
import type { AnswerTimes } from './answer-times.ts';
import type { Fault } from './faulty-upstream.ts';
import { inLanes, type Seen } from './lane.ts';
import type { RecordedExchange } from './recorded-exchanges.ts';
import {
  describe,
  isBadGateway,
  isPartOf,
  isRecorded,
  longestMs,
  runCases,
  summarize,
  timed,
  type Case,
  type UpstreamRig,
} from './upstream-rig.ts';

const endings = ['FIN', 'RST'] as const;
type Cut = { readonly at: number; readonly ending: 'FIN' | 'RST' };

/** The places to cut: every byte; in the quick form a sample that depends on the seed. */
function* cuts({ form, random }: UpstreamRig, headBytes: number, allBytes: number): Generator<Cut> {
  for (const ending of endings) {
    const phase = random.below(170);
    for (let at = 0; at <= allBytes; at++) {
      const edge = Math.min(Math.abs(at - headBytes), allBytes - at) < 3;
      const isTaken = form !== 'quick' || edge || (at + phase) % (at < headBytes ? 10 : 34) === 0;
      if (isTaken) yield { at, ending };
    }
  }
}

/** What a client may see of an answer that was cut there. */
function isRightCut(seen: Seen, { at, ending }: Cut, exchange: RecordedExchange): boolean {
  const { head, body, method } = exchange;
  if (at < head.length) return isBadGateway(seen);
  const isWhole = at === head.length + body.length;
  if (isWhole && ending === 'FIN') return isRecorded(seen, exchange);
  // A reset can overtake what was sent before it.
  const isBroken = isBadGateway(seen) || isPartOf(seen, exchange);
  if (isWhole) return isBroken || isRecorded(seen, exchange);
  // With HEAD, and where the answer is gathered for the cache, there is no half of it.
  return exchange.name.includes(', cached') || method === 'HEAD' ? isBadGateway(seen) : isBroken;
}

function* cutCases(rig: UpstreamRig, exchange: RecordedExchange): Generator<Case> {
  const all = Buffer.concat([exchange.head, exchange.body]);
  for (const cut of cuts(rig, exchange.head.length, all.length))
    yield {
      ...{ exchange, bytes: [all.subarray(0, cut.at)], ending: cut.ending },
      what: `${cut.ending} after ${cut.at} of ${all.length} bytes`,
      isRight: (seen) => isRightCut(seen, cut, exchange),
    };
}

/** Encodes the body in chunks of several sizes, with a trailer. */
function inChunks(exchange: RecordedExchange): { head: Buffer; wire: Buffer } {
  const { head, body } = exchange;
  const pieces: Buffer[] = [];
  for (let at = 0, size = 1; at < body.length; at += size, size = Math.min(size * 3, 256)) {
    const piece = body.subarray(at, at + size);
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return {
    head: Buffer.from(
      head.toString('latin1').replace(/Content-Length: \d+/, 'Transfer-Encoding: chunked'),
      'latin1',
    ),
    wire: Buffer.concat([...pieces, Buffer.from('0\r\nX-Trailer: 1\r\n\r\n')]),
  };
}

function* chunkCases(rig: UpstreamRig, exchange: RecordedExchange): Generator<Case> {
  const { head, wire } = inChunks(exchange);
  const all = Buffer.concat([head, wire]);
  for (const cut of cuts(rig, head.length, all.length))
    yield {
      ...{ exchange, bytes: [all.subarray(0, cut.at)], ending: cut.ending },
      what: `in chunks, ${cut.ending} after ${cut.at} of ${all.length} bytes`,
      isRight: (seen) => {
        const isWhole = cut.at === all.length;
        if (isWhole && isRecorded(seen, exchange)) return true;
        if (isWhole && cut.ending === 'FIN') return false;
        return isBadGateway(seen) || (cut.at >= head.length && isPartOf(seen, exchange));
      },
    };
}

/** A body of that size bypasses the parser; see `direct-body.ts`. */
const largeBytes = 1024 * 1024 + 4321;

function* largeCases({ form, random }: UpstreamRig, exchange: RecordedExchange): Generator<Case> {
  const body = Buffer.alloc(largeBytes, 'large ');
  const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${largeBytes}\r\n\r\n`);
  const edges = [0, 1, 16384, 32767, 32768, 32769, 65536, largeBytes - 1, largeBytes];
  const others = Array.from({ length: { quick: 6, ci: 60, long: 400 }[form] }, () =>
    random.below(largeBytes),
  );
  for (const at of [...edges, ...others])
    for (const ending of endings)
      yield {
        ...{ exchange, ending, bytes: [head, body.subarray(0, at)] },
        what: `a large body, ${ending} after ${at} of ${largeBytes} bytes`,
        isRight: (seen) => {
          const recorded = { ...exchange, body, status: 200 };
          if (at === largeBytes && isRecorded(seen, recorded)) return true;
          if (at === largeBytes && ending === 'FIN') return false;
          return isPartOf(seen, recorded) || (ending === 'RST' && isBadGateway(seen));
        },
      };
}

/** Upstream's HEAD fails for a blob in the folder: then its GET decides, and the answer is complete or none. */
async function runStored(rig: UpstreamRig, times: AnswerTimes): Promise<number> {
  const { stored, upstream, frontDoor } = rig;
  const { repository, digest, bytes } = stored;
  const target = `/v2/${repository}/blobs/${digest}`;
  const good = Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\nDocker-Content-Digest: ${digest}\r\n` +
      'Content-Type: application/octet-stream\r\n\r\n',
  );
  const faultOf = (pieces: Buffer[], ending: Fault['ending']): Fault => ({
    bytes: pieces,
    ending,
    readsBody: true,
  });
  const count = await inLanes(
    frontDoor,
    { lanes: 8, longestMs },
    cuts(rig, good.length, good.length),
    async (lane, { at, ending }) => {
      for (const getFails of [false, true]) {
        const id = upstream.plan(({ startLine }) => {
          if (startLine.startsWith('HEAD ')) return faultOf([good.subarray(0, at)], ending);
          return faultOf([good, getFails ? bytes.subarray(0, at) : bytes], getFails ? ending : 'stay');
        });
        const seen = await lane.ask(authorized(`GET ${target}`, `X-Case: ${id}`));
        const recorded = { method: 'GET', status: 200, body: bytes } as RecordedExchange;
        const what = `HEAD of a stored blob, ${ending} after ${at} of ${good.length} bytes${getFails ? ', and of the GET' : ''}`;
        const mayFail = getFails && at < good.length;
        const isRight =
          isRecorded(seen, recorded) || (mayFail && (isPartOf(seen, recorded) || isBadGateway(seen)));
        assert.ok(isRight, `${what}: the client saw ${describe(seen)}`);
        times.add(summarize(seen), seen.ms, false);
        upstream.forget(id);
      }
    },
  );
  upstream.closeIdle();
  rig.bystander.check();
  return 2 * count;
}

/** Answers that end early, at every byte that matters, by FIN and by RST. */
export function upstreamCuts(rig: UpstreamRig): Trial[] {
  const blob = rig.exchanges.find(({ name }) => name === 'GET of a blob');
  if (!blob) throw new Error('no blob was recorded');
  return [
    ...rig.exchanges.map((exchange) =>
      timed(`${exchange.name}: cut after each byte, whole or cut or 502`, (times) =>
        runCases(rig, times, cutCases(rig, exchange)),
      ),
    ),
    timed('the same blob in chunks: cut after each byte', (times) =>
      runCases(rig, times, chunkCases(rig, blob)),
    ),
    timed('a large body: cut after many a byte', (times) => runCases(rig, times, largeCases(rig, blob))),
    timed('a blob in the folder: the HEAD before it cut after each byte', (times) => runStored(rig, times)),
  ];
}
