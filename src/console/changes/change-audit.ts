import type { Logger } from 'pino';
import type { Exchange } from '../../pipeline/exchange.ts';
import { principalText, type Principal } from '../../registry/principal.ts';
import { identifyRequest } from '../../telemetry/log/access-log.ts';
import { printable } from '../../telemetry/log/printable.ts';

/** What somebody changed in the console, beside deletes, which have lines of their own. */
export type ConsoleChange = 'password' | 'token-made' | 'token-revoked' | 'clean-undo';

/** Writes a line about a change. Values are names, and never secrets. */
export type AuditChange = (
  exchange: Exchange,
  principal: Principal,
  change: ConsoleChange,
  result: 'success' | 'failure',
  names?: Readonly<Record<string, string | readonly string[] | null>>,
) => void;

/** Lines are written at any log.level, as all of the audit. */
export function createChangeAudit(logger: Logger): AuditChange {
  const lines = logger.child({}, { level: 'info' });
  return (exchange, principal, change, result, names = {}) => {
    const shown = Object.entries(names).map(([name, value]) => [name, show(value)]);
    lines.info(
      {
        ...identifyRequest(exchange),
        user: principalText(principal),
        change,
        ...Object.fromEntries(shown),
        result,
        client: exchange.clientAddress,
      },
      'console change',
    );
  };
}

function show(value: string | readonly string[] | null) {
  if (value === null) return null;
  return typeof value === 'string' ? printable(value) : value.map(printable);
}
