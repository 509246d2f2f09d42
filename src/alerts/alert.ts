import { randomBytes } from 'node:crypto';

/** What people are told of. */
export type AlertKind =
  'upstream-down' | 'certificate-ending' | 'certificate-ended' | 'crash-loop' | 'lock-outs' | 'test';

/** What is sent when an incident begins, and once more when it has ended. */
export type Alert = {
  readonly kind: AlertKind;
  readonly state: 'firing' | 'resolved' | 'test';
  /** One or two sentences for people. */
  readonly text: string;
  /** The same at the beginning and the end of one incident. */
  readonly incident: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** The machine that it comes from. */
  readonly host: string;
};

/** A way to reach people. */
export type Channel = {
  readonly name: 'webhook' | 'mail';
  /** Takes a bounded time. @throws Error that says why it was not taken; never with a secret in it */
  readonly send: (alert: Alert) => Promise<void>;
};

export function createIncidentId(): string {
  return randomBytes(8).toString('hex');
}

/** The alert by which an operator tries the channels. */
export function createTestAlert(host: string, now: Date): Alert {
  return {
    kind: 'test',
    state: 'test',
    text: 'This is a test: alerts of Tidegate arrive here.',
    incident: createIncidentId(),
    startedAt: now.toISOString(),
    endedAt: null,
    host,
  };
}
