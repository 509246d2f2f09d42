import type { Logger } from 'pino';
import { identifyRequest } from '../telemetry/log/access-log.ts';
import { headerValues, type RawHeaders } from '../http/raw-headers.ts';
import { findForeignPlace, type LocationNames } from '../upstream/location.ts';
import type { Exchange } from './exchange.ts';

/** Warns of wrong settings that upstream's answers reveal. */
export type UpstreamWarnings = {
  /** For a 401. */
  challenge(exchange: Exchange): void;
  /** For a push: clients would continue at another place, without Tidegate, or fail. A redirect may lead anywhere. */
  foreignPlace(exchange: Exchange, rawHeaders: RawHeaders, names: LocationNames): void;
};

export function createUpstreamWarnings(logger: Logger, sendsCredentials: boolean): UpstreamWarnings {
  return {
    challenge: (exchange) => {
      const hint = sendsCredentials
        ? 'it does not accept upstream.username and upstream.password'
        : 'it wants credentials of its own: set upstream.username and upstream.password';
      logger.warn(identifyRequest(exchange), `the registry answered 401: ${hint}`);
    },
    foreignPlace: (exchange, rawHeaders, names) => {
      const [location] = headerValues(rawHeaders, 'location');
      const place = location === undefined ? null : findForeignPlace(location, names);
      if (place === null) return;
      logger.warn(
        { ...identifyRequest(exchange), place },
        "the registry sends clients that push to another place than Tidegate: remove http.host from the registry's configuration, or set it to a name in the certificate",
      );
    },
  };
}
