import type { Logger } from 'pino';
import { OciError } from '../registry/error.ts';
import { identifyRequest } from '../telemetry/log/access-log.ts';
import { endAnswer, writeErrorHead } from './error-response.ts';
import type { Exchange } from './exchange.ts';
import type { RefusedBodies } from './refused-bodies.ts';

/** The error boundary: an answer if none has begun, else a cut connection. */
export type ErrorBoundary = (exchange: Exchange, thrown: unknown) => void;

export function createErrorBoundary({
  logger,
  refusedBodies,
}: {
  readonly logger: Logger;
  readonly refusedBodies: RefusedBodies;
}): ErrorBoundary {
  return (exchange, thrown) => {
    const { res } = exchange;
    const error =
      thrown instanceof OciError
        ? thrown
        : new OciError('UNKNOWN', 'Tidegate failed to handle the request.', { cause: thrown });
    exchange.errorCode = error.code;
    exchange.reason ??= error.reason;
    if (error.status >= 500) {
      const context = { ...identifyRequest(exchange), code: error.code };
      if (error.code === 'UNKNOWN') logger.error({ ...context, err: error.cause }, error.message);
      else logger.warn(context, describe(error));
    }
    if (res.destroyed || res.headersSent) {
      res.destroy();
      return;
    }
    endAnswer(exchange, refusedBodies, writeErrorHead(exchange, error));
  };
}

function describe(error: OciError): string {
  return error.cause instanceof Error ? `${error.message} ${error.cause.message}` : error.message;
}
