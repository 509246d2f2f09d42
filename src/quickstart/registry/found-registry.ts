import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import type { Confirm } from '../../cli/terminal.ts';
import { findPortOwner, type PortOwner } from './port-owner.ts';

export type FoundRegistryOptions = {
  readonly url: string;
  /** The answer is kept in this folder. */
  readonly varDir: string;
  readonly confirm: Confirm;
};

/**
 * Decides whether to use a registry that answers at a URL which is not configured. Any user of this machine can listen
 * there, and would receive everything that is pushed. A yes is kept, for the user who listens there now.
 */
export async function mayTakeFound({ url, varDir, confirm }: FoundRegistryOptions): Promise<boolean> {
  const owner = await findPortOwner(Number(new URL(url).port));
  const file = path.join(varDir, 'accepted-registry.json');
  const accepted = await readAccepted(file);
  if (accepted?.url === url && accepted.uid === owner.uid) return true;
  print(describe(url, owner));
  const howTo = `write it into config/tidegate.yml (upstream: { url: "${url}" }), or set TIDEGATE_UPSTREAM_URL=${url}`;
  if (confirm === null) {
    print(`  It is not used, since there is no terminal to ask on. To use it, ${howTo}.\n`);
    return false;
  }
  if (!(await confirm('  Put Tidegate in front of it? [y/N] '))) {
    print('  It is not used.\n');
    return false;
  }
  await mkdir(varDir, { recursive: true });
  await writeFile(file, `${JSON.stringify({ url, uid: owner.uid })}\n`, { mode: 0o600 });
  print(
    `  It is used, now and at later starts, as long as the same user listens there. To make this permanent, ${howTo}.\n`,
  );
  return true;
}

function print(text: string): void {
  process.stdout.write(text);
}

function describe(url: string, { description }: PortOwner): string {
  const whose = description === null ? '' : ` It is ${description}.`;
  return `  Something answers like a registry at ${url}, and no configuration names it.${whose}\n  Any user of this machine can listen there, and would receive everything that is pushed.\n`;
}

const acceptedForm = z.object({ url: z.string(), uid: z.number().nullable() });

async function readAccepted(file: string): Promise<z.infer<typeof acceptedForm> | undefined> {
  try {
    return acceptedForm.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return undefined;
  }
}
