import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http';
import { Agent as TlsAgent, type AgentOptions as TlsAgentOptions } from 'node:https';
import { connect, Socket, type OnReadOpts, type TcpNetConnectOpts } from 'node:net';
import type { Duplex } from 'node:stream';

/** Takes what a socket receives, in place of Node's parser. */
export type ByteSink = {
  /** Called once, when the parser has received everything before; false: reading waits for `socket.resume()`. */
  begin(): boolean;
  /** Returns the memory into which the next bytes are read; undefined once the sink wants no more. */
  nextBuffer(): Buffer | undefined;
  /** Called with what was read into that memory; false: reading waits for `socket.resume()`. */
  onBytes(bytes: Buffer): boolean;
};

type Reader = {
  sink: ByteSink | undefined;
  isParsing: boolean;
  /** The memory into which the parser's next bytes are read. */
  shared: Buffer;
};

/** A function, since the compiler would assume that no call changes a property. */
const sinkOf = (reader: Reader): ByteSink | undefined => reader.sink;

/** The buffers for the parser. Their content is copied at once, so all sockets share them: the small one for heads. */
const sharedBuffers = { small: Buffer.allocUnsafeSlow(16 * 1024), large: Buffer.allocUnsafeSlow(64 * 1024) };
const readers = new WeakMap<Socket, Reader>();

/**
 * An agent for plain HTTP whose sockets read into memory of Tidegate (net.connect's `onread`). Received bytes go to
 * Node's parser as 'data' events, as usual, until a {@link ByteSink} takes over.
 */
class DirectAgent extends Agent {
  readonly #pieceBytes: () => number;

  constructor(options: AgentOptions, pieceBytes: () => number) {
    super(options);
    this.#pieceBytes = pieceBytes;
  }

  override createConnection(options: ClientRequestArgs): Duplex {
    return open(this.#pieceBytes, (onread) => connect({ ...(options as TcpNetConnectOpts), onread }));
  }
}

/** The same for TLS, whose sockets take `onread` too: each record is decrypted into that memory. */
class DirectTlsAgent extends TlsAgent {
  readonly #pieceBytes: () => number;

  constructor(options: TlsAgentOptions, pieceBytes: () => number) {
    super(options);
    this.#pieceBytes = pieceBytes;
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    return open(this.#pieceBytes, (onread) =>
      super.createConnection({ ...options, onread } as ClientRequestArgs, callback),
    );
  }
}

/** Opens a socket that reads as described above; `connectWith` takes the value of `onread`. */
function open<Opened extends Duplex | null | undefined>(
  pieceBytes: () => number,
  connectWith: (onread: OnReadOpts) => Opened,
): Opened {
  const reader: Reader = { sink: undefined, isParsing: false, shared: sharedBuffers.small };
  const socket = connectWith({
    buffer: () => reader.sink?.nextBuffer() ?? reader.shared,
    callback: (length, memory) => {
      const bytes = memory.subarray(0, length) as Buffer;
      const sink = sinkOf(reader);
      if (sink) return sink.onBytes(bytes);
      const { small, large } = sharedBuffers;
      reader.shared = length === memory.length && pieceBytes() >= large.length ? large : small;
      reader.isParsing = true;
      // Without a listener there is no request: a connection with such bytes must not be reused.
      if (!socket?.emit('data', Buffer.from(bytes))) socket?.destroy();
      reader.isParsing = false;
      return sinkOf(reader)?.begin() ?? true;
    },
  });
  if (socket instanceof Socket) readers.set(socket, reader);
  return socket;
}

/**
 * Creates the agent for plain HTTP. On Windows the memory is chosen long before the bytes arrive and can't be shared, so
 * there it is an ordinary agent.
 * @param pieceBytes how much may be read at a time now
 */
export function createDirectAgent(options: AgentOptions, pieceBytes = () => Infinity): Agent {
  return process.platform === 'win32' ? new Agent(options) : new DirectAgent(options, pieceBytes);
}

/** Creates the agent for https. @param pieceBytes how much may be read at a time now */
export function createDirectTlsAgent(options: TlsAgentOptions, pieceBytes = () => Infinity): Agent {
  return new DirectTlsAgent(options, pieceBytes);
}

/**
 * Passes everything after the bytes being parsed to the sink; permanently, so the socket must be destroyed afterwards.
 * Returns false where that can't be: for a socket of another agent, and outside of the parser's events.
 */
export function divert(socket: Socket, sink: ByteSink): boolean {
  const reader = readers.get(socket);
  if (!reader?.isParsing || reader.sink) return false;
  reader.sink = sink;
  return true;
}
