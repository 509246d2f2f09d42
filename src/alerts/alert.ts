import { randomBytes } from 'node:crypto';

/** The kinds of alerts. */
export type AlertKind =
  | 'upstream-down'
  | 'route-down'
  | 'certificate-ending'
  | 'certificate-ended'
  | 'certificate-order'
  | 'crash-loop'
  | 'clean-failed'
  | 'lock-outs'
  | 'test';

/** A message that is sent when an incident begins, and again when it is over. */
export type Alert = {
  readonly kind: AlertKind;
  /** The name of the route that it is about; null: it is about no route. */
  readonly upstream: string | null;
  readonly state: 'firing' | 'resolved' | 'test';
  /** One or two sentences for people. */
  readonly text: string;
  /** Equal in both messages of one incident. */
  readonly incident: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** The machine that sends it. */
  readonly host: string;
};

/** A channel to people. */
export type Channel = {
  readonly name: 'webhook' | 'mail';
  /** Takes a bounded time. @throws Error that says why it failed; never with a secret in it */
  readonly send: (alert: Alert) => Promise<void>;
};

export function createIncidentId(): string {
  return randomBytes(8).toString('hex');
}

/** The alert with which an operator tests the channels. */
export function createTestAlert(host: string, now: Date): Alert {
  return {
    kind: 'test',
    upstream: null,
    state: 'test',
    text: 'This is a test: alerts of Tidegate arrive here.',
    incident: createIncidentId(),
    startedAt: now.toISOString(),
    endedAt: null,
    host,
  };
}
