import { open } from 'node:fs/promises';
import path from 'node:path';
import { OperatorError } from '../../system/operator-error.ts';
import { readSettings } from './file-settings.ts';
import { selectFlavor, type FlavorChoice } from './flavor.ts';
import type { Problem } from './problem.ts';
import type { Setting } from './setting.ts';
import { parseYamlTree, type YamlFault } from './yaml-tree.ts';

const defaultPath = path.join('config', 'tidegate.yml');
const maxBytes = 1024 ** 2;

/** The content of the file, or of none. */
type ConfigFile = {
  readonly configPath: string | null;
  /** Whether the file is empty, without even a comment. */
  readonly isEmpty: boolean;
  readonly flavor: string | null;
  readonly settings: ReadonlyMap<string, Setting>;
  readonly problems: readonly Problem[];
};

/** Reads the named file, else config/tidegate.yml where it exists, else nothing; throws OperatorError when it can't be read. */
export async function readConfigFile(
  named: string | undefined,
  cwd: string,
  choice: FlavorChoice,
  env: NodeJS.ProcessEnv,
): Promise<ConfigFile> {
  const shown = named ?? defaultPath;
  const configPath = path.resolve(cwd, shown);
  const text = await readText(configPath, shown, named !== undefined);
  if (text === undefined) {
    if (!choice.isFlag)
      return { configPath: null, isEmpty: false, flavor: null, settings: new Map(), problems: [] };
    throw new OperatorError(
      `--flavor ${choice.name} is given, but there is no configuration file: name one with --config, or leave the flag out.`,
    );
  }
  return { configPath, isEmpty: text.trim() === '', ...parseConfigFile(text, shown, choice, env) };
}

/** `shown` is the file's name in problems. */
function parseConfigFile(
  text: string,
  shown: string,
  choice: FlavorChoice,
  env: NodeJS.ProcessEnv,
): Omit<ConfigFile, 'configPath' | 'isEmpty'> {
  const toProblem = ({ line, wrong }: YamlFault): Problem => ({ place: `${shown}:${line}`, wrong });
  const { root, faults } = parseYamlTree(text);
  const problems = faults.map(toProblem);
  const nothing = { flavor: null, settings: new Map<string, Setting>() };
  if (root === undefined) return { ...nothing, problems };
  const isEmpty = root.kind === 'scalar' && root.value === null;
  if (root.kind !== 'mapping' && !isEmpty) {
    const wrong = `the document must be a mapping of sections, not a ${root.kind}`;
    return { ...nothing, problems: [...problems, toProblem({ line: root.line, wrong })] };
  }
  const mapping = root.kind === 'mapping' ? root : { kind: 'mapping' as const, line: 1, entries: new Map() };
  const selected = selectFlavor(mapping, choice);
  problems.push(...selected.faults.map(toProblem));
  if (selected.document === undefined) return { ...nothing, problems };
  const { settings, problems: wrongValues } = readSettings(selected.document, shown, env);
  return { flavor: selected.flavor, settings, problems: [...problems, ...wrongValues] };
}

/** Undefined when the file does not exist and need not. */
async function readText(configPath: string, shown: string, isNamed: boolean): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readBounded(configPath);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !isNamed) return undefined;
    const why = code === 'ENOENT' ? 'does not exist' : `can't be read (${code ?? String(error)})`;
    throw new OperatorError(`The configuration file ${shown} ${why}: name another one with --config.`);
  }
  if (bytes.length > maxBytes) {
    throw new OperatorError(
      `The configuration file ${shown} is larger than 1 MiB: name the right one with --config.`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new OperatorError(`The configuration file ${shown} is not UTF-8 text: save it as UTF-8.`);
  }
}

/** Reads at most one byte more than allowed; the claimed size means nothing for devices and pipes. */
async function readBounded(configPath: string): Promise<Buffer> {
  const file = await open(configPath, 'r');
  try {
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}
