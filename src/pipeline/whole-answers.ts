import type { ServerResponse } from 'node:http';
import { OciError } from '../registry/error.ts';
import { endAnswer } from './error-response.ts';
import type { Exchange } from './exchange.ts';
import { startInPieces } from '../http/paced-write.ts';
import type { RefusedBodies } from './refused-bodies.ts';

/** Room for answers that are held whole, in bytes. */
export type AnswerRoom = {
  /** Takes some; gives false when there is not so much. */
  take(bytes: number): boolean;
  give(bytes: number): void;
};

/** Sends answers that are held whole, and bounds what is held for clients that read slowly. */
export type WholeAnswers = {
  readonly room: AnswerRoom;
  /** Keeps room for a body until the answer is over, once for all who are sent the same; gives false when there is none. */
  hold(res: ServerResponse, body: Buffer): boolean;
  /** Sends the body of an answer whose head is written, and ends it. */
  send(exchange: Exchange, body: Buffer | undefined): void;
};

export type WholeAnswersOptions = {
  /** How many bytes of bodies may be held. */
  readonly maxBytes: number;
  readonly refusedBodies: RefusedBodies;
};

/** A body up to this is not counted, and written at once, in bytes: it is about what a connection costs anyway. */
const smallBytes = 16 * 1024;
/** When a client whose list found no room is to come again, in seconds. */
const retryAfterS = 5;

export function createWholeAnswers({ maxBytes, refusedBodies }: WholeAnswersOptions): WholeAnswers {
  let usedBytes = 0;
  /** How many are being sent a body. */
  const holders = new Map<Buffer, number>();

  const room: AnswerRoom = {
    take: (bytes) => {
      if (usedBytes + bytes > maxBytes) return false;
      usedBytes += bytes;
      return true;
    },
    give: (bytes) => {
      usedBytes -= bytes;
    },
  };
  const hold = (res: ServerResponse, body: Buffer): boolean => {
    if (body.length <= smallBytes) return true;
    const before = holders.get(body) ?? 0;
    if (before === 0 && !room.take(body.length)) return false;
    holders.set(body, before + 1);
    res.once('close', () => {
      const left = (holders.get(body) ?? 0) - 1;
      if (left > 0) holders.set(body, left);
      else if (holders.delete(body)) room.give(body.length);
    });
    return true;
  };
  const send = (exchange: Exchange, body: Buffer | undefined): void => {
    const { res } = exchange;
    const end = (piece?: Buffer) => {
      exchange.bytesOut += piece?.length ?? 0;
      endAnswer(exchange, refusedBodies, piece);
    };
    if (body === undefined || body.length <= smallBytes) end(body);
    else startInPieces(res, body, { onPiece: (bytes) => (exchange.bytesOut += bytes), end });
  };
  return { room, hold, send };
}

/** The 503 for a list that nobody can be sent just now. */
export function noRoom(): OciError {
  return new OciError(
    'UNAVAILABLE',
    'Too many long answers are being sent to clients; try again in a moment.',
    { headers: { 'Retry-After': String(retryAfterS) } },
  );
}
