import type { Exchange } from './exchange.ts';

/** Every answer to a version check depends on who asks, and must not be kept. */
export function addVersionCheckHeaders(exchange: Exchange): void {
  const { answerHeaders } = exchange;
  exchange.answerHeaders = {
    ...answerHeaders,
    'Docker-Distribution-Api-Version': 'registry/2.0',
    Vary: ['User-Agent', ...(answerHeaders['Vary'] === undefined ? [] : [answerHeaders['Vary']])].join(', '),
    'Cache-Control': 'no-store',
  };
}
