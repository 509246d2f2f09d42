import type { HttpAnswer, Sender } from './http-sender.ts';
import { dockerAgent } from './challenge.ts';
import { ok, skipped, warning, type Finding } from '../finding.ts';

export const timingIds = ['clock', 'latency', 'keep-alive'] as const;

const rounds = 5;
/** The tolerance of Kerberos and most tokens; certificates of Tidegate are backdated by an hour. */
const maxSkewMs = 300_000;
const slowMs = 1000;

/** A wall clock, and the answers timed by it. */
export type TimedAnswer = Pick<HttpAnswer, 'headers' | 'ms' | 'isReused'> & { readonly atMs: number };

/** Sends five requests over one connection. */
export function tryTiming(sender: Sender, nowMs: () => number, signal: AbortSignal): Promise<Finding[]> {
  return sender.overOneConnection(async (send) => {
    const answers: TimedAnswer[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const request = { method: 'GET', path: '/v2/', headers: { 'User-Agent': dockerAgent } } as const;
      const answer = await send(request, signal);
      answers.push({ ...answer, atMs: nowMs() - answer.ms / 2 });
    }
    const [first] = answers;
    return [
      first === undefined ? skipped('clock', 'No answer came.') : judgeClock(first),
      judgeLatency(answers.map(({ ms }) => ms)),
      judgeKeepAlive(answers.slice(1)),
    ];
  });
}

/** Compares the server's Date with this machine's clock. */
export function judgeClock({ headers, atMs }: Pick<TimedAnswer, 'headers' | 'atMs'>): Finding {
  const check = 'clock';
  const dateMs = Date.parse(headers.date ?? '');
  if (Number.isNaN(dateMs)) return skipped(check, 'The answer has no Date to compare clocks by.');
  // Date has whole seconds, rounded down.
  const skewMs = dateMs + 500 - atMs;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) <= maxSkewMs)
    return ok(check, `The server's clock and this one differ by ${seconds} s.`);
  return warning(
    check,
    `The server's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this one: certificates and tokens seem invalid too early or too late.`,
    'timedatectl set-ntp true, on the machine whose clock is wrong',
  );
}

/** Judges the latency of answers, in milliseconds. */
export function judgeLatency(allMs: readonly number[]): Finding {
  const check = 'latency';
  const sorted = [...allMs].sort((a, b) => a - b);
  const medianMs = Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0);
  const slowestMs = Math.round(sorted.at(-1) ?? 0);
  const shown = `/v2/ is answered in ${medianMs} ms, at most ${slowestMs} ms`;
  return medianMs <= slowMs
    ? ok(check, `${shown}.`)
    : warning(
        check,
        `${shown}: slow.`,
        'look at the load of the server (uptime) and at the way there (ping)',
      );
}

/** Judges whether the answers after the first came over the same connection. */
export function judgeKeepAlive(answers: readonly Pick<TimedAnswer, 'isReused'>[]): Finding {
  const check = 'keep-alive';
  if (answers.every(({ isReused }) => isReused)) return ok(check, 'One connection serves several requests.');
  return warning(
    check,
    'The connection is closed after a request, and each request needs a new handshake.',
    'a proxy before Tidegate should keep connections (nginx: keepalive_timeout 75s;), unless the server is stopping',
  );
}
