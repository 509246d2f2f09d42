import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http';
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import type { Duplex } from 'node:stream';

/** Takes what a socket receives, in place of Node's parser. */
export type ByteSink = {
  /** Called once, when the parser has had all that came before; false: reading waits for `socket.resume()`. */
  begin(): boolean;
  /** Gives the memory that the next bytes are read into; undefined once the sink wants no more. */
  nextBuffer(): Buffer | undefined;
  /** Called with what was read into that memory; false: reading waits for `socket.resume()`. */
  onBytes(bytes: Buffer): boolean;
};

type Reader = {
  sink: ByteSink | undefined;
  isParsing: boolean;
  /** Where the parser's next bytes are read into. */
  shared: Buffer;
};

/** Not read as a property: the compiler would hold that no call changes it. */
const sinkOf = (reader: Reader): ByteSink | undefined => reader.sink;

/** What the parser gets is read into these and copied at once, so that all sockets can share them: a head into the small one. */
const sharedBuffers = { small: Buffer.allocUnsafeSlow(16 * 1024), large: Buffer.allocUnsafeSlow(64 * 1024) };
const readers = new WeakMap<Socket, Reader>();

/**
 * An agent for plain HTTP whose sockets read into memory of ours (net.connect's `onread`). What comes is handed to Node's parser as
 * a 'data' event, as it would be anyway, until a {@link ByteSink} takes over.
 */
class DirectAgent extends Agent {
  readonly #pieceBytes: () => number;

  constructor(options: AgentOptions, pieceBytes: () => number) {
    super(options);
    this.#pieceBytes = pieceBytes;
  }

  override createConnection(options: ClientRequestArgs): Duplex {
    const reader: Reader = { sink: undefined, isParsing: false, shared: sharedBuffers.small };
    const socket = connect({
      ...(options as TcpNetConnectOpts),
      onread: {
        buffer: () => reader.sink?.nextBuffer() ?? reader.shared,
        callback: (length, memory) => {
          const bytes = memory.subarray(0, length) as Buffer;
          const sink = sinkOf(reader);
          if (sink) return sink.onBytes(bytes);
          const { small, large } = sharedBuffers;
          reader.shared = length === memory.length && this.#pieceBytes() >= large.length ? large : small;
          reader.isParsing = true;
          // No listener: nobody has asked. A connection with such bytes on it is not one for the next request.
          if (!socket.emit('data', Buffer.from(bytes))) socket.destroy();
          reader.isParsing = false;
          return sinkOf(reader)?.begin() ?? true;
        },
      },
    });
    readers.set(socket, reader);
    return socket;
  }
}

/**
 * Builds the agent. On Windows the memory is chosen long before the bytes come, so it can't be shared: there it is an ordinary one.
 * @param pieceBytes how much may be read at a time just now
 */
export function createDirectAgent(options: AgentOptions, pieceBytes = () => Infinity): Agent {
  return process.platform === 'win32' ? new Agent(options) : new DirectAgent(options, pieceBytes);
}

/**
 * Has the sink take everything that comes after what is being parsed now; for good, so the socket must be destroyed after it. Gives
 * false where that can't be: for a socket of another agent, and outside of the parser's own events.
 */
export function divert(socket: Socket, sink: ByteSink): boolean {
  const reader = readers.get(socket);
  if (!reader?.isParsing || reader.sink) return false;
  reader.sink = sink;
  return true;
}
