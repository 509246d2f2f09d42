import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { loadConfig, type ConfigSources, type LoadedConfig } from '../../../src/config/load/load.ts';
import { OperatorError } from '../../../src/system/operator-error.ts';

/** A folder of this test file's own, removed after its tests. */
export const folder = mkdtempSync(path.join(tmpdir(), 'tidegate-config-'));
after(() => rmSync(folder, { recursive: true }));

/** Loads the text as the file x.yml in the folder. */
export async function loadText(
  text: string | Uint8Array,
  sources: Partial<ConfigSources> = {},
): Promise<LoadedConfig> {
  await writeFile(path.join(folder, 'x.yml'), text);
  return loadConfig({ configPath: 'x.yml', flavor: undefined, set: [], env: {}, cwd: folder, ...sources });
}

/** The lines of the OperatorError that loading the text throws. */
export async function findProblems(
  text: string | Uint8Array,
  sources: Partial<ConfigSources> = {},
): Promise<string[]> {
  let lines: string[] = [];
  await assert.rejects(loadText(text, sources), (error) => {
    assert.ok(error instanceof OperatorError, String(error));
    lines = error.message.split('\n');
    return true;
  });
  return lines;
}
