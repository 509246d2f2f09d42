import { InvalidArgumentError, type Command } from 'commander';
import { loadConfig } from '../config/load/load.ts';
import { parseRepository, parseTag } from '../policy/policy-query.ts';
import { requireCleaner } from './clean/cleaner-command.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';

type Image = { readonly repository: string; readonly tag: string };

/** Adds `tag remove`: removes one tag, and no other of the same image. */
export function addTagCommand(program: Command): void {
  const tag = program.command('tag').description('remove tags');
  const remove = tag
    .command('remove')
    .description('remove a tag, and no other tag of the same image')
    .argument('<image>', 'REPOSITORY:TAG', parseImage);
  addConfigOptions(remove).action(async (image: Image) => {
    const { config } = await loadConfig(readConfigOptions(remove));
    await requireCleaner(config, { command: 'remove-tag', ...image });
  });
}

function parseImage(text: string): Image {
  const [repository = '', ...tag] = text.split(':');
  if (tag.length !== 1)
    throw new InvalidArgumentError('Write REPOSITORY:TAG without the name of a host, such as team/app:1.0.');
  try {
    return { repository: parseRepository(repository), tag: parseTag(tag[0] ?? '') };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InvalidArgumentError(`One part ${error.message}.`);
  }
}
