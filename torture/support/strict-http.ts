/** A message, parsed strictly by RFC 9112. Bytes are Latin-1 characters. */
export type StrictMessage = {
  readonly startLine: string;
  readonly method: string;
  readonly target: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** Where it ends among the bytes that were given. */
  readonly end: number;
};

/** The messages in some bytes, and what follows the last complete one. */
export type StrictReading = {
  readonly messages: readonly StrictMessage[];
  readonly rest: 'nothing' | 'incomplete' | 'invalid';
  /** The fault, or what is missing. */
  readonly why: string;
  /** The message with a valid head and an incomplete or invalid body. */
  readonly begun: StrictMessage | null;
};

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const requestLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
const statusLine = /^HTTP\/1\.1 ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
/** RFC 9112 section 7.1.1, with quoted strings. Zeros lead as far as they like, and an extension may be nothing, since it means nothing. */
const chunkLine =
  /^(0*[0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]*(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]*|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*$/;

class Invalid extends Error {}
class Incomplete extends Error {}

/**
 * Reads requests; line ends before one are passed over (section 2.2), bare ones too, which mean nothing there.
 *
 * @param spaces whether the parts of a request line may be several spaces apart, as Node's parser takes them (section 3 lets it)
 */
export function readRequests(bytes: string, spaces: 'one' | 'several' = 'one'): StrictReading {
  return readAll((at) => {
    let start = at;
    while (start < bytes.length && '\r\n'.includes(bytes.charAt(start))) start += 1;
    if (start === bytes.length) return null;
    const [startLine, afterLine] = takeLine(bytes, start);
    const [, method = '', target = '', minor = ''] =
      requestLine.exec(spaces === 'one' ? startLine : startLine.replace(/ +/g, ' ')) ?? [];
    if (method === '') throw new Invalid(`the request line ${JSON.stringify(startLine.slice(0, 80))}`);
    const [fields, bodyStart] = takeFields(bytes, afterLine);
    const hosts = valuesOf(fields, 'host');
    if (hosts.length > 1 || (minor === '1' && hosts.length === 0)) throw new Invalid('not one Host');
    const head = { startLine, method, target, fields, body: '', end: bodyStart };
    return [head, () => takeBody(bytes, bodyStart, fields, minor === '1', () => ['', bodyStart])];
  });
}

/** Reads answers to requests of these methods, in order; `isEnded`: the connection is closed behind them. 1xx are passed over. */
export function readAnswers(bytes: string, methods: readonly string[], isEnded: boolean): StrictReading {
  let answered = 0;
  return readAll((at) => {
    let start = at;
    let startLine = '';
    let fields: StrictMessage['fields'] = [];
    let bodyStart = at;
    do {
      if (start === bytes.length) return null;
      const [line, afterLine] = takeLine(bytes, start);
      startLine = line;
      if (!statusLine.test(line)) throw new Invalid(`the status line ${JSON.stringify(line.slice(0, 80))}`);
      [fields, bodyStart] = takeFields(bytes, afterLine);
      start = bodyStart;
    } while (startLine.startsWith('HTTP/1.1 1'));
    const method = methods[answered] ?? 'GET';
    answered += 1;
    const head = { startLine, method, target: '', fields, body: '', end: bodyStart };
    if (method === 'HEAD' || /^HTTP\/1\.1 (?:204|304)/.test(startLine)) return [head, () => ['', bodyStart]];
    const untilClose = (): [string, number] => {
      if (!isEnded) throw new Incomplete('the end of the connection');
      return [bytes.slice(bodyStart), bytes.length];
    };
    return [head, () => takeBody(bytes, bodyStart, fields, true, untilClose)];
  });
}

type Begun = [head: StrictMessage, takeBody: () => [body: string, end: number]];

function readAll(takeHead: (at: number) => Begun | null): StrictReading {
  const messages: StrictMessage[] = [];
  let begun: StrictMessage | null = null;
  try {
    for (let at = 0; ;) {
      begun = null;
      const taken = takeHead(at);
      if (taken === null) return { messages, rest: 'nothing', why: '', begun };
      [begun] = taken;
      const [body, end] = taken[1]();
      messages.push({ ...begun, body, end });
      at = end;
    }
  } catch (error) {
    if (error instanceof Incomplete) return { messages, rest: 'incomplete', why: error.message, begun };
    if (error instanceof Invalid) return { messages, rest: 'invalid', why: error.message, begun };
    throw error;
  }
}

/** Up to CR LF; a CR or LF by itself is wrong wherever it is. */
function takeLine(bytes: string, at: number): [line: string, next: number] {
  const end = bytes.indexOf('\r\n', at);
  const line = bytes.slice(at, end === -1 ? bytes.length : end);
  const bare = /[\r\n]/.exec(line);
  if (bare && (end !== -1 || bare.index < line.length - 1)) throw new Invalid('a bare CR or LF');
  if (end === -1) throw new Incomplete('the end of a line');
  return [line, end + 2];
}

function takeFields(bytes: string, start: number): [fields: [string, string][], next: number] {
  const fields: [string, string][] = [];
  for (let at = start; ;) {
    const [line, next] = takeLine(bytes, at);
    at = next;
    if (line === '') return [fields, at];
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    const value = line.slice(colon + 1).replace(/^[ \t]*/, '');
    if (!token.test(name)) throw new Invalid(`the field ${JSON.stringify(line.slice(0, 80))}`);
    if (!fieldValue.test(value)) throw new Invalid(`the value of ${name}`);
    let end = value.length;
    while (end > 0 && ' \t'.includes(value.charAt(end - 1))) end -= 1;
    fields.push([name, value.slice(0, end)]);
  }
}

function takeBody(
  bytes: string,
  start: number,
  fields: StrictMessage['fields'],
  isCurrent: boolean,
  otherwise: () => [string, number],
): [body: string, end: number] {
  const codings = valuesOf(fields, 'transfer-encoding');
  const lengths = valuesOf(fields, 'content-length');
  if (codings.length > 0) {
    if (lengths.length > 0 || codings.length > 1 || !isCurrent) throw new Invalid('two ways to end');
    if (codings[0]?.toLowerCase() !== 'chunked') throw new Invalid(`Transfer-Encoding ${codings[0] ?? ''}`);
    return takeChunks(bytes, start);
  }
  if (lengths.length === 0) return otherwise();
  if (lengths.length > 1 || !/^[0-9]{1,15}$/.test(lengths[0] ?? '')) throw new Invalid('Content-Length');
  const end = start + Number(lengths[0]);
  if (end > bytes.length) throw new Incomplete('the rest of a body');
  return [bytes.slice(start, end), end];
}

function takeChunks(bytes: string, start: number): [body: string, end: number] {
  let body = '';
  for (let at = start; ;) {
    const [line, next] = takeLine(bytes, at);
    const [, digits] = chunkLine.exec(line) ?? [];
    if (digits === undefined) throw new Invalid(`the chunk size ${JSON.stringify(line.slice(0, 40))}`);
    const size = parseInt(digits, 16);
    if (size === 0) return [body, takeFields(bytes, next)[1]];
    if (!Number.isSafeInteger(size)) throw new Invalid('a chunk size that nothing can hold');
    const end = next + size;
    if (end + 2 > bytes.length) {
      // What should be CR LF and is not can be told at once.
      if (end < bytes.length && bytes.charAt(end) !== '\r') throw new Invalid('a chunk without its end');
      throw new Incomplete('the rest of a chunk');
    }
    if (!bytes.startsWith('\r\n', end)) throw new Invalid('a chunk without its end');
    body += bytes.slice(next, end);
    at = end + 2;
  }
}

/** The values of a field. */
export function valuesOf(fields: StrictMessage['fields'], lowerCaseName: string): string[] {
  return fields.filter(([name]) => name.toLowerCase() === lowerCaseName).map(([, value]) => value);
}
