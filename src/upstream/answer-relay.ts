import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerPairs, headerValues } from '../http/raw-headers.ts';
import { OciError } from '../registry/error.ts';
import type { BodyBuffers } from './body/body-buffers.ts';
import { relayDirectly } from './body/direct-body.ts';
import { relayParsed } from './body/parsed-body.ts';
import type { RelayBudget } from './body/relay-budget.ts';
import { buildClientHeaders, hasForeignCoding, sendHead, type ResponseEdits } from './headers.ts';

export type AnswerRelayOptions = {
  readonly answer: IncomingMessage;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly edits: Omit<ResponseEdits, 'mayHaveTrailers'>;
  readonly budget: RelayBudget;
  readonly openBuffers: () => BodyBuffers;
  /** Called with the size of each piece as it is passed on. */
  readonly onBytes: (bytes: number) => void;
  /** Called when all has been written; `res` is still to be ended. `keepsUpstream`: its connection is good for another request. */
  readonly onEnd: (keepsUpstream: boolean) => void;
};

/** An answer on its way to the client. */
export type AnswerRelay = {
  /** Whether the client has yet to take what has been read. */
  waitsForClient(): boolean;
  /** To be called at the transfer's end, whatever it is. */
  close(): void;
};

/** Passes upstream's answer on to the client. To be called in the 'response' event, or later. @throws OciError BAD_GATEWAY before anything is sent */
export function relayAnswer(options: AnswerRelayOptions): AnswerRelay {
  const { answer, req, res } = options;
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
  // The head goes out with the first of the body when that is already here, and alone when it is not.
  setImmediate(() => {
    if (!isOver && !isBegun) sendHead(res);
  });
  const direct =
    req.method === 'GET' && req.complete
      ? relayDirectly({ ...options, incoming: answer, onBytes, onEnd: () => end(false) })
      : undefined;
  const body = direct ?? relayParsed({ ...options, incoming: answer, onBytes });
  if (direct === undefined)
    answer.on('end', () => {
      if (!isOver && answer.rawTrailers.length > 0 && res.chunkedEncoding)
        res.addTrailers([...headerPairs(answer.rawTrailers)]);
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
function writeHead({ answer, req, res, edits }: AnswerRelayOptions): void {
  try {
    if (hasForeignCoding(answer.rawHeaders)) throw new Error('its Transfer-Encoding is not "chunked"');
    const inChunks = headerValues(answer.rawHeaders, 'transfer-encoding').length > 0;
    // An answer that comes before the whole request has been read ends the connection after it.
    if (!req.complete) res.shouldKeepAlive = false;
    res.writeHead(
      answer.statusCode ?? 0,
      answer.statusMessage ?? '',
      buildClientHeaders(answer.rawHeaders, {
        ...edits,
        mayHaveTrailers: inChunks && req.method !== 'HEAD' && req.httpVersion === '1.1',
      }),
    );
  } catch (cause) {
    throw new OciError('BAD_GATEWAY', 'The registry sent an answer that is not valid HTTP.', { cause });
  }
}
