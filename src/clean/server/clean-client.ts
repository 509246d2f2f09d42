import type { Socket } from 'node:net';
import { OperatorError } from '../../system/operator-error.ts';
import { connectTo } from '../../system/unix-socket.ts';
import { printable } from '../../telemetry/log/printable.ts';
import { createLineReader } from '../channel/line-reader.ts';
import type { CleanCommand, CleanReply, CommandEnd, Progress } from './messages.ts';

export type CleanListener = {
  /** A promise that it returns is waited for: meanwhile the cleaner waits, too. */
  onText(text: string): unknown;
  onProgress?(progress: Progress): void;
  /** Gets a function that asks the cleaner to end the job at its next safe point. */
  onBegin?(stop: () => void): void;
  /** Breaks off. A job that changes something goes on. */
  readonly signal?: AbortSignal;
};

/** The longest line of the cleaner: its texts come in pieces. */
const maxLineBytes = 1024 * 1024;

/**
 * Has the running cleaner do a command. Null: none is running.
 *
 * @throws OperatorError when it may not be asked, refuses, fails or breaks off
 */
export async function askCleaner(
  path: string,
  command: CleanCommand,
  listener: CleanListener,
): Promise<CommandEnd | null> {
  const socket = await connect(path);
  if (socket === null) return null;
  socket.write(`${JSON.stringify(command)}\n`);
  listener.signal?.addEventListener('abort', () => socket.destroy());
  listener.onBegin?.(() => socket.write('{"stop":true}\n'));
  try {
    for await (const reply of readReplies(socket)) {
      if ('end' in reply) return reply.end;
      if ('error' in reply) throw new OperatorError(reply.error.split('\n').map(printable).join('\n'));
      if ('text' in reply) await listener.onText(reply.text);
      else listener.onProgress?.(reply.progress);
    }
  } finally {
    socket.destroy();
  }
  throw new OperatorError(
    `The cleaner at ${path} broke off: its log says why, and tidegate clean status what it has done.`,
  );
}

async function connect(path: string): Promise<Socket | null> {
  try {
    const socket = await connectTo(path);
    socket?.on('error', () => {}); // it ends, which is reported
    return socket;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      throw new OperatorError(
        `The cleaner's socket ${path} is for its user and group alone: run this as one of them, or as root.`,
      );
    throw new OperatorError(`The cleaner at ${path} (clean.socket) cannot be reached: ${message}.`, {
      cause: error,
    });
  }
}

/** Reads no further than it is asked to. Ends when the connection does, however. */
async function* readReplies(socket: Socket): AsyncGenerator<CleanReply> {
  const lines = createLineReader(maxLineBytes);
  try {
    for await (const piece of socket as AsyncIterable<Buffer>)
      for (const line of lines.read(piece)) yield parseReply(line);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
  }
}

/** @param line null: it is too long */
function parseReply(line: string | null): CleanReply {
  try {
    if (line !== null) return JSON.parse(line) as CleanReply;
  } catch {
    // said below
  }
  throw new OperatorError('Another program than the cleaner answered: check clean.socket.');
}
