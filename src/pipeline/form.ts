import type { IncomingMessage } from 'node:http';
import { OciError } from '../registry/error.ts';
import { headerValues } from '../http/raw-headers.ts';
import { CollectedBytes } from '../system/collected-bytes.ts';
import type { Exchange } from './exchange.ts';

export type FormLimits = {
  readonly maxBytes: number;
  readonly key: `limits.${string}`;
  readonly timeoutMs: number;
};

/**
 * Reads a body of the type application/x-www-form-urlencoded (WHATWG URL section 5.1).
 * @param limits how large it may be, by which key, and how long it may take to come, in milliseconds
 * @throws OciError BAD_REQUEST, SIZE_INVALID or REQUEST_TIMEOUT
 */
export async function readForm(
  { req, res, connection, expectation }: Pick<Exchange, 'req' | 'res' | 'connection' | 'expectation'>,
  limits: FormLimits,
): Promise<URLSearchParams> {
  const [type = ''] = headerValues(req.rawHeaders, 'content-type');
  if (!/^application\/x-www-form-urlencoded *(?:;|$)/i.test(type))
    throw new OciError(
      'BAD_REQUEST',
      'This request needs a body of the type application/x-www-form-urlencoded.',
    );
  if (Number(req.headers['content-length'] ?? 0) > limits.maxBytes) throw tooLarge(limits);
  if (expectation === 'continue') res.writeContinue();
  connection.readBody();
  const body = await readBody(req, limits);
  return new URLSearchParams(body.toString());
}

function readBody(req: IncomingMessage, { maxBytes, key, timeoutMs }: FormLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = new CollectedBytes(); // not a list, in which each byte of a slow body would be a buffer
    const finish = (error: OciError | null) => {
      clearTimeout(timer);
      req.off('data', take).off('end', end).off('close', leave);
      if (error === null) resolve(body.read());
      else reject(error);
    };
    const take = (part: Buffer) => {
      if (body.length + part.length > maxBytes) finish(tooLarge({ maxBytes, key }));
      else body.add(part);
    };
    const end = () => finish(null);
    const leave = () => finish(new OciError('BAD_REQUEST', 'The body is not complete.'));
    const timer = setTimeout(() => {
      finish(new OciError('REQUEST_TIMEOUT', 'The body took too long to arrive.'));
    }, timeoutMs);
    req.on('data', take).on('end', end).on('close', leave);
  });
}

function tooLarge({ maxBytes, key }: Pick<FormLimits, 'maxBytes' | 'key'>): OciError {
  return new OciError('SIZE_INVALID', `The body is larger than the ${maxBytes} bytes of ${key}.`);
}
