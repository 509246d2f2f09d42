/** What a TLS client asks for (RFC 8446 section 4.1.2). */
export type ClientHello = {
  /** The name in server_name (RFC 6066 section 3), in lower case; null: none. */
  readonly serverName: string | null;
  /** The protocols in application_layer_protocol_negotiation (RFC 7301 section 3.1). */
  readonly protocols: readonly string[];
};

/** A record holds at most 2^14 bytes (RFC 8446 section 5.1); a hello that needs more than this is not looked into. */
const maxHelloBytes = 32 * 1024;
/** No honest client parts it among more: records of one byte would make joining them cost 26 ms. */
const maxHelloRecords = 16;
const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;
const alpnExtension = 16;

/** Parses the first bytes of a TLS connection; null: they are no such hello. */
export function parseClientHello(received: Buffer): ClientHello | 'incomplete' | null {
  const message = joinRecords(received);
  if (message === null || message === 'incomplete') return message;
  const reader = createReader(message);
  reader.skip(2 + 32); // version, random
  reader.skip(reader.number(1)); // session
  reader.skip(reader.number(2)); // cipher suites
  reader.skip(reader.number(1)); // compression
  const extensions = createReader(reader.take(reader.number(2)));
  let serverName: string | null = null;
  let protocols: readonly string[] = [];
  while (extensions.left() > 0) {
    const type = extensions.number(2);
    const body = extensions.take(extensions.number(2));
    if (type === serverNameExtension) serverName = readServerName(body);
    if (type === alpnExtension) protocols = readProtocols(body);
  }
  return reader.failed() || extensions.failed() ? null : { serverName, protocols };
}

/** Joins the records of the first handshake message, which may be parted among several. */
function joinRecords(received: Buffer): Buffer | 'incomplete' | null {
  let message = Buffer.alloc(0);
  let at = 0;
  for (let records = 0; records < maxHelloRecords; records += 1) {
    const head = received.subarray(at, at + 5);
    if (head.length > 0 && (head[0] !== handshakeRecord || (head[1] ?? 3) !== 3)) return null;
    if (received.length > maxHelloBytes) return null;
    if (head.length < 5) return 'incomplete';
    const length = head.readUInt16BE(3);
    message = Buffer.concat([message, received.subarray(at + 5, at + 5 + length)]);
    if (message.length > 0 && message[0] !== clientHello) return null;
    if (message.length >= 4 && message.length - 4 >= message.readUIntBE(1, 3))
      return message.subarray(4, 4 + message.readUIntBE(1, 3));
    if (length === 0) return null;
    at += 5 + length;
    if (at > received.length) return 'incomplete';
  }
  return null;
}

function readServerName(body: Buffer): string | null {
  const reader = createReader(body);
  reader.skip(2); // the list's length
  const type = reader.number(1);
  const name = reader.take(reader.number(2)).toString('latin1').toLowerCase();
  return reader.failed() || type !== 0 ? null : name;
}

function readProtocols(body: Buffer): string[] {
  const reader = createReader(body);
  reader.skip(2); // the list's length
  const protocols: string[] = [];
  while (reader.left() > 0) protocols.push(reader.take(reader.number(1)).toString('latin1'));
  return protocols;
}

/** Reads forward; what lies beyond the end is empty, and noted. */
function createReader(bytes: Buffer) {
  let at = 0;
  let hasFailed = false;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) {
      hasFailed = true;
      at = bytes.length;
      return Buffer.alloc(0);
    }
    at += length;
    return bytes.subarray(at - length, at);
  };
  return {
    take,
    skip: (length: number) => void take(length),
    number: (size: number) => {
      const read = take(size);
      return read.length === 0 ? 0 : read.readUIntBE(0, size);
    },
    left: () => bytes.length - at,
    failed: () => hasFailed,
  };
}
