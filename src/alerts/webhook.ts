import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { refuseUpgrade } from '../system/unasked-upgrade.ts';
import type { Alert, Channel } from './alert.ts';

/** The time limit of an alert, from DNS lookup to answer, in milliseconds. */
const timeoutMs = 10_000;

/**
 * Creates the channel that POSTs each alert as JSON.
 * @param ca PEM certificates to verify an https URL with, instead of the public ones; null for those
 */
export function createWebhook(url: string, ca: string | null): Channel {
  const target = new URL(url);
  const open = target.protocol === 'https:' ? httpsRequest : httpRequest;
  return {
    name: 'webhook',
    send: async (alert) => {
      const body = Buffer.from(JSON.stringify(toMessage(alert)));
      const signal = AbortSignal.timeout(timeoutMs);
      const request = open(target, {
        method: 'POST',
        agent: false,
        signal,
        rejectUnauthorized: true,
        ...(ca === null ? {} : { ca }),
        headers: {
          'Content-Type': 'application/json',
          'Content-Length': body.length,
          'User-Agent': 'tidegate',
        },
      });
      request.on('error', () => {}); // one that comes before the answer rejects below, too
      refuseUpgrade(request);
      request.end(body);
      try {
        const [response] = (await once(request, 'response', { signal })) as [IncomingMessage];
        const { statusCode = 0 } = response;
        // Only the status counts. A redirect is not followed: the URL may be a secret.
        if (statusCode < 200 || statusCode > 299) throw new Error(`the webhook answered ${statusCode}`);
      } catch (error) {
        if (signal.aborted) throw new Error(`the webhook did not answer within ${timeoutMs / 1000} seconds`);
        throw error;
      } finally {
        request.destroy();
      }
    },
  };
}

/** Chat services show `text`; the rest is for programs. */
function toMessage(alert: Alert): object {
  const { kind, upstream, state, text, incident, startedAt, endedAt, host } = alert;
  const route = upstream === null ? {} : { upstream };
  return { text: `[${host}] ${text}`, alert: kind, ...route, state, incident, startedAt, endedAt, host };
}
