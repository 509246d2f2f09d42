import type { Socket } from 'node:net';
import { createLineReader } from '../channel/line-reader.ts';
import { isStopRequest, type CleanReply } from './messages.ts';

/** The connection of a command. */
export type CommandConnection = {
  /** Aborted when the command asks to stop. */
  readonly stop: AbortSignal;
  /** Aborted when the command asks to stop, or is gone. */
  readonly gone: AbortSignal;
  /** Waits for a reader who is slow. One who does not read at all is cut off. */
  reply(reply: CleanReply): Promise<void>;
  /** The same for a text that comes in pieces. */
  print(pieces: Iterable<string>): Promise<void>;
  /** Drops it for a reader who is slow. */
  show(reply: CleanReply): void;
  end(): void;
};

/** How long a client may take to read what waits for it. */
const stallMs = 60_000;
/** The longest line of a client: its command is the first one. */
const maxLineBytes = 65_536;
/** A piece of a long text. */
const pieceLength = 32_768;

export function openCommandConnection(socket: Socket): CommandConnection {
  const stop = new AbortController();
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  const lines = createLineReader(maxLineBytes);
  socket.on('data', (piece: Buffer) => {
    for (const line of lines.read(piece)) {
      if (line === null) socket.destroy();
      else if (isStopRequest(line)) stop.abort();
    }
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
  const writeText = async (text: string): Promise<void> => {
    for (let at = 0; at < text.length; at += pieceLength)
      await write({ text: text.slice(at, at + pieceLength) });
  };
  return {
    stop: stop.signal,
    gone: AbortSignal.any([stop.signal, gone.signal]),
    reply: (reply) => ('text' in reply ? writeText(reply.text) : write(reply)),
    print: async (pieces) => {
      let text = '';
      for (const piece of pieces) {
        if (socket.destroyed) return;
        text += piece;
        if (text.length < pieceLength) continue;
        await writeText(text);
        text = '';
      }
      await writeText(text);
    },
    show: (reply) => {
      if (!socket.destroyed && !socket.writableNeedDrain) socket.write(`${JSON.stringify(reply)}\n`);
    },
    end: () => {
      socket.end();
      // One who stays would keep others from connecting.
      const stayed = setTimeout(() => socket.destroy(), stallMs).unref();
      socket.once('close', () => clearTimeout(stayed));
    },
  };
}
