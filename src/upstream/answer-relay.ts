import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerPairs, headerValues } from '../http/raw-headers.ts';
import { OciError } from '../registry/error.ts';
import type { BodyBuffers } from './body/body-buffers.ts';
import { relayDirectly } from './body/direct-body.ts';
import { relayParsed } from './body/parsed-body.ts';
import type { RelayBudget } from './body/relay-budget.ts';
import { hasForeignCoding } from './hop-by-hop.ts';
import { buildClientHeaders, sendHead, type AnswerEdits, type ResponseEdits } from './response-headers.ts';

export type AnswerRelayOptions = {
  readonly answer: IncomingMessage;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly edits: ResponseEdits;
  readonly editLocation: AnswerEdits['editLocation'];
  readonly budget: RelayBudget;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each forwarded piece. */
  readonly onBytes: (bytes: number) => void;
  /**
   * Called when everything has been written; `res` still has to be ended. `keepsUpstream`: its connection can be
   * reused.
   */
  readonly onEnd: (keepsUpstream: boolean) => void;
};

/** An answer on its way to the client. */
export type AnswerRelay = {
  /** Whether bytes wait for the client to read. */
  waitsForClient(): boolean;
  /** Call it at the end of the transfer, however it ended. */
  close(): void;
};

/**
 * Forwards upstream's answer to the client. Call it in the 'response' event, or later. @throws OciError BAD_GATEWAY
 * before anything is sent
 */
export function relayAnswer(options: AnswerRelayOptions): AnswerRelay {
  const { answer: incoming, req, res, budget, openBuffers } = options;
  let isBegun = false;
  let isOver = false;
  const onBytes = (bytes: number): void => {
    isBegun = true;
    options.onBytes(bytes);
  };
  const end = (keepsUpstream: boolean): void => {
    if (!isOver) options.onEnd(keepsUpstream);
  };

  writeHead(options);
  // Sends the head with the first bytes of the body if they are here already, otherwise alone.
  setImmediate(() => {
    if (!isOver && !isBegun) sendHead(res);
  });
  const direct =
    req.method === 'GET' && req.complete
      ? relayDirectly({ incoming, res, openBuffers, onBytes, onEnd: () => end(false) })
      : undefined;
  const body = direct ?? relayParsed({ incoming, res, budget, onBytes });
  if (direct === undefined)
    incoming.on('end', () => {
      if (!isOver && incoming.rawTrailers.length > 0 && res.chunkedEncoding)
        res.addTrailers([...headerPairs(incoming.rawTrailers)]);
      end(req.complete);
    });
  return {
    waitsForClient: () => body.waitsForClient(),
    close: () => {
      isOver = true;
      direct?.close();
    },
  };
}

/** @throws OciError BAD_GATEWAY */
function writeHead({ answer, req, res, edits, editLocation }: AnswerRelayOptions): void {
  try {
    if (hasForeignCoding(answer.rawHeaders)) throw new Error('its Transfer-Encoding is not "chunked"');
    const inChunks = headerValues(answer.rawHeaders, 'transfer-encoding').length > 0;
    // The connection ends after an answer that comes before the whole request has been read.
    if (!req.complete) res.shouldKeepAlive = false;
    res.writeHead(
      answer.statusCode ?? 0,
      answer.statusMessage ?? '',
      buildClientHeaders(answer.rawHeaders, edits, {
        mayHaveTrailers: inChunks && req.method !== 'HEAD' && req.httpVersion === '1.1',
        editLocation,
      }),
    );
  } catch (cause) {
    throw new OciError('BAD_GATEWAY', 'The registry sent an answer that is not valid HTTP.', { cause });
  }
}
