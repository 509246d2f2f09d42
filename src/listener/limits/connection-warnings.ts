import type { Logger } from 'pino';
import type { Metrics } from '../../telemetry/metrics/metrics.ts';
import type { GateEvent } from './connection-gate.ts';

/** Counts connections that limits refuse or close, and logs each limit at most once a minute. */
export type ConnectionWarnings = {
  /** Notes that a limit on the number of connections was reached. */
  readonly full: (event: GateEvent) => void;
  /** Notes that a limit on what connections hold was reached. */
  over(limit: keyof typeof overSentence): void;
  /** Warns of a connection that bypassed the trusted proxies; it is not counted as a limit. */
  untrusted(client: string): void;
};

export function createConnectionWarnings(
  logger: Logger,
  metrics: Pick<Metrics, 'throttled'>,
): ConnectionWarnings {
  const warnOfFull = (event: GateEvent) =>
    logger.warn(
      { limit: `limits.${event.limit}` },
      `limits.${event.limit} is reached, or one worker's part of it: ${fullSentence[event.closed]}`,
    );
  const fullWarnings = () => ({
    oldest: everyMinute(warnOfFull),
    idle: everyMinute(warnOfFull),
    newest: everyMinute(warnOfFull),
  });
  const full = { connections: fullWarnings(), connectionsPerAddress: fullWarnings() };
  const warnOfBytes = (limit: keyof typeof overSentence) =>
    logger.warn({ limit: `limits.${limit}` }, `limits.${limit} is reached: ${overSentence[limit]}`);
  const over = { unprovenBytes: everyMinute(warnOfBytes), waitingBytes: everyMinute(warnOfBytes) };
  return {
    full: (event) => {
      metrics.throttled('connections');
      full[event.limit][event.closed](event);
    },
    over: (limit) => {
      metrics.throttled('connections');
      over[limit](limit);
    },
    untrusted: everyMinute((client) =>
      logger.warn({ client }, 'connections refused: their address is not in listen.trustedProxies'),
    ),
  };
}

const overSentence = {
  unprovenBytes: 'the unauthenticated connections that hold the most are closed',
  waitingBytes:
    'the authenticated connections on which the most bytes wait are closed; registry clients send no request before the answer to the last',
} as const;

const fullSentence: Readonly<Record<GateEvent['closed'], string>> = {
  oldest: 'each new connection closes the oldest unauthenticated one',
  idle: 'each new connection closes an idle one of the user who has the most',
  newest: 'new connections are closed',
};

function everyMinute<Argument>(act: (argument: Argument) => void): (argument: Argument) => void {
  let quietUntilMs = 0;
  return (argument) => {
    if (Date.now() < quietUntilMs) return;
    quietUntilMs = Date.now() + 60_000;
    act(argument);
  };
}
