import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { isStopRequest, type CleanReply } from './messages.ts';

/** The connection of a command. */
export type CommandConnection = {
  /** Aborted when the command asks to stop. */
  readonly stop: AbortSignal;
  /** Aborted when the command asks to stop, or is gone. */
  readonly gone: AbortSignal;
  /** Waits for a reader who is slow. One who does not read at all is cut off. */
  reply(reply: CleanReply): Promise<void>;
  /** Drops it for a reader who is slow. */
  show(reply: CleanReply): void;
  end(): void;
};

const stallMs = 60_000;
/** A piece of a long text. */
const pieceLength = 32_768;

export function openCommandConnection(socket: Socket): CommandConnection {
  const stop = new AbortController();
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  createInterface({ input: socket }).on('line', (line) => {
    if (isStopRequest(line)) stop.abort();
  });
  const write = async (reply: CleanReply): Promise<void> => {
    if (socket.destroyed || socket.write(`${JSON.stringify(reply)}\n`)) return;
    const stalled = setTimeout(() => socket.destroy(), stallMs).unref();
    await new Promise<void>((resolve) => {
      const go = () => {
        socket.off('drain', go).off('close', go);
        resolve();
      };
      socket.on('drain', go).on('close', go);
    });
    clearTimeout(stalled);
  };
  return {
    stop: stop.signal,
    gone: AbortSignal.any([stop.signal, gone.signal]),
    reply: async (reply) => {
      if (!('text' in reply)) return write(reply);
      for (let at = 0; at < reply.text.length; at += pieceLength)
        await write({ text: reply.text.slice(at, at + pieceLength) });
    },
    show: (reply) => {
      if (!socket.destroyed && !socket.writableNeedDrain) socket.write(`${JSON.stringify(reply)}\n`);
    },
    end: () => socket.end(),
  };
}
