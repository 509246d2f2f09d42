import type { ServerResponse } from 'node:http';
import { OciError } from '../registry/error.ts';
import { endAnswer } from './error-response.ts';
import type { Exchange } from './exchange.ts';
import { startInPieces } from '../http/paced-write.ts';
import type { RefusedBodies } from './refused-bodies.ts';

/** Room for answers that are held whole, in bytes. */
export type AnswerRoom = {
  /** Reserves bytes; false if there are too few. */
  take(bytes: number): boolean;
  give(bytes: number): void;
};

/** Sends answers that are held whole, and limits what is held for slow clients. */
export type WholeAnswers = {
  readonly room: AnswerRoom;
  /** Reserves room for a body until its answer ends, once for all who get the same; false if there is none. */
  hold(res: ServerResponse, body: Buffer): boolean;
  /** Sends the body of an answer whose head is written, and ends it. */
  send(exchange: Exchange, body: Buffer | undefined): void;
};

export type WholeAnswersOptions = {
  /** How many bytes of bodies may be held. */
  readonly maxBytes: number;
  readonly refusedBodies: RefusedBodies;
};

/** A body up to this size is not counted, and written at once, in bytes: it takes about as much as a connection. */
const smallBytes = 16 * 1024;
/** The Retry-After for a list that found no room, in seconds. */
const retryAfterS = 5;

export function createWholeAnswers({ maxBytes, refusedBodies }: WholeAnswersOptions): WholeAnswers {
  let usedBytes = 0;
  /** How many clients are being sent each body. */
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

/** Tells an answer without room from one that is over its own limit: both are null to who asked. */
export function watchRoom(room: AnswerRoom): { readonly room: AnswerRoom; readonly wasFull: () => boolean } {
  let wasFull = false;
  const take = (bytes: number): boolean => {
    const hasRoom = room.take(bytes);
    wasFull ||= !hasRoom;
    return hasRoom;
  };
  return { room: { take, give: (bytes) => room.give(bytes) }, wasFull: () => wasFull };
}

/** The 503 for a list without room. */
export function noRoom(): OciError {
  return new OciError(
    'UNAVAILABLE',
    'Too many long answers are being sent to clients; try again in a moment.',
    { headers: { 'Retry-After': String(retryAfterS) } },
  );
}
