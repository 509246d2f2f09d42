import type { Logger } from 'pino';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import type { GateEvent } from './connection-gate.ts';

/** Counts connections that limits refuse or close, and says so in the log, each at most once a minute. */
export type ConnectionWarnings = {
  /** A limit on the number of connections was reached. */
  readonly full: (event: GateEvent) => void;
  /** A limit on what connections hold was reached. */
  over(limit: keyof typeof overSentence): void;
  /** One came past the trusted proxies; that is no limit, and not counted. */
  untrusted(client: string): void;
};

export function createConnectionWarnings(
  logger: Logger,
  metrics: Pick<Metrics, 'throttled'>,
): ConnectionWarnings {
  const warnOfFull = (event: GateEvent) =>
    logger.warn(
      { limit: `limits.${event.limit}` },
      `limits.${event.limit} is reached, or a part of it that one worker has: ${fullSentence[event.closed]}`,
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
  unprovenBytes:
    'of the connections on which nobody has shown a right password, those that hold the most are closed',
  waitingBytes:
    'of the connections with requests that wait, those on which the most waits are closed; no client of a registry sends requests before it has the answer to the last',
} as const;

const fullSentence: Readonly<Record<GateEvent['closed'], string>> = {
  oldest: 'for each new connection the oldest is closed on which nobody has shown a right password',
  idle: 'for each new connection an idle one is closed, of the user who has the most of them',
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
