import { formatVariableName } from '../load/environment.ts';
import { configKeys, sectionNames } from '../schema/key-list.ts';
import { describeRestart } from '../schema/restart-keys.ts';

const introduction = `# Configuration reference

<!-- Generated from src/config/schema/ by "npm run generate": edit there. -->

A configuration is a YAML file of the sections below, and of keys outside them; every key has a default, so that a file holds only what differs.
Three sources are read and the later wins: the file, environment variables, \`--set KEY=VALUE\` flags. Unknown keys,
unknown \`TIDEGATE_\` variables and wrong values are refused, all at once; \`tidegate config check\` reports them
without starting anything, \`tidegate config show\` prints what is in effect.

- Without \`--config\` the file is \`config/tidegate.yml\` where that exists, else there is none.
- Relative paths are relative to the folder above the file's when the file lies in a folder named \`config\`, else to
  the working directory.
- A running Tidegate applies a change when the file is saved, on SIGHUP or by \`tidegate reload\`; where a restart is needed, the
  key's line says so. So does a change of the environment, which a running process cannot see.
- A value, or an item of a list, may be \`_env:NAME\` or \`_env:NAME:default\`: the text of an environment variable.
- In environment, flags and \`_env:\` a list is written with commas, and empty text means null where null is allowed.
- A file may hold flavors instead of sections: mappings such as \`common\`, \`dev\` and \`prod\`, each with sections
  in it. The flavor named by \`--flavor\`, else \`TIDEGATE_FLAVOR\`, else \`SETTINGS_FLAVOR\`, else \`dev\` is used, and
  \`common\` is merged under it: mappings key by key, while lists are replaced.
`;

/** The reference page of all keys in Markdown; ends with a newline. */
export function formatReference(): string {
  return [introduction, ...['', ...sectionNames].map(formatSection)].join('\n');
}

function formatSection(section: string): string {
  const rows = [...configKeys.values()]
    .filter((key) => key.section === section)
    .map((key) => {
      const fallback = `\`${formatDefault(key.fallback)}\``;
      const cells = [
        `\`${key.path}\``,
        key.allowed,
        fallback,
        `\`${formatVariableName(key.path)}\``,
        [key.description, describeRestart(key.path)].filter(Boolean).join(' '),
      ];
      return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    });
  const head =
    '| Key | Allowed | Default | Environment variable | Meaning |\n| --- | --- | --- | --- | --- |';
  return `## ${section === '' ? 'Outside the sections' : section}\n\n${head}\n${rows.join('\n')}\n`;
}

/** Formats a value as YAML. */
function formatDefault(fallback: unknown): string {
  if (Array.isArray(fallback)) return `[${fallback.join(', ')}]`;
  if (typeof fallback === 'object' && fallback !== null) return JSON.stringify(fallback);
  return fallback === '::' ? '"::"' : String(fallback);
}
