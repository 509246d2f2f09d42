import { configKeys } from '../schema/key-list.ts';
import { findNearName } from './near-name.ts';
import type { Problem } from './problem.ts';

const prefix = 'TIDEGATE_';

/** Variables that Kubernetes and Docker links inject for services called `tidegate` or `tidegate-…`; they are ignored. */
const serviceLink =
  /^TIDEGATE_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/** The environment variable of a key: `upstream.connectTimeout` → `TIDEGATE_UPSTREAM_CONNECT_TIMEOUT`. */
export function formatVariableName(path: string): string {
  const words = path.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').replaceAll('.', '_');
  return prefix + words.toUpperCase();
}

const pathByName = new Map(
  [...configKeys.keys()].map((path) => [stripUnderscores(formatVariableName(path)), path]),
);

/** Values by key path from the `TIDEGATE_…` variables, with the variable's name; underscores between words may be left out. */
export function readEnvironment(env: NodeJS.ProcessEnv): {
  values: Map<string, { variable: string; text: string }>;
  problems: Problem[];
} {
  const values = new Map<string, { variable: string; text: string }>();
  const problems: Problem[] = [];
  for (const [variable, text] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!variable.startsWith(prefix) || variable === 'TIDEGATE_FLAVOR' || text === undefined) continue;
    // A service called tidegate-admin injects a variable with the name of a key.
    if (isServiceLink(variable, text)) continue;
    const path = pathByName.get(stripUnderscores(variable));
    if (path === undefined) {
      problems.push(explainUnknownVariable(variable));
      continue;
    }
    const other = values.get(path);
    if (other === undefined) values.set(path, { variable, text });
    else
      problems.push({
        place: variable,
        key: path,
        wrong: `is set by ${other.variable} too: unset one of them`,
      });
  }
  return { values, problems };
}

function stripUnderscores(name: string): string {
  return prefix + name.slice(prefix.length).replaceAll('_', '');
}

function isServiceLink(variable: string, text: string): boolean {
  return (
    serviceLink.test(variable) ||
    (/^TIDEGATE_([A-Z0-9_]+_)?PORT$/.test(variable) && /^(tcp|udp|sctp):\/\//.test(text))
  );
}

function explainUnknownVariable(variable: string): Problem {
  const near = findNearName(variable, [...configKeys.keys()].map(formatVariableName));
  const hint = near === undefined ? '' : `, did you mean ${near}?`;
  return { place: variable, wrong: `no key has this environment variable${hint}` };
}
