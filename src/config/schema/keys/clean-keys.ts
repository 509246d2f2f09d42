import { Cron } from 'croner';
import * as z from 'zod';
import { parseRepositoryPattern } from '../../../policy/repository-pattern.ts';
import { parseTagGlob } from '../../../policy/tag-pattern.ts';
import { findCollectorFault } from '../collector-fault.ts';
import { duration, filePath, integer, key, lifetime, nullable, size, tree } from '../types/key-type.ts';

const maxRules = 256;
const longest = '3650d';

/** A cron expression of five fields, or a name such as @daily, in local time. */
function cron() {
  const schema = z.string().check((context) => {
    const fault = findCronFault(context.value);
    if (fault !== null) context.issues.push({ code: 'custom', message: fault, input: context.value });
  });
  const allowed = 'a cron expression of five fields, such as "30 3 * * *" (each night at 3:30), or @daily';
  return { schema, allowed, textForm: 'text' } as const;
}

function findCronFault(text: string): string | null {
  const shown = JSON.stringify(text.slice(0, 60));
  try {
    // Without a function it calls nothing and sets no timer.
    return new Cron(text, { mode: '5-part' }).nextRun() === null
      ? `${shown} names no date that there is`
      : null;
  } catch {
    return `${shown} is no cron expression`;
  }
}

/** A lifetime, or null for `never`. */
function lifetimeOrNever(min: string, max: string) {
  const type = lifetime(min, max);
  const schema = z
    .union([z.literal('never'), type.schema])
    .transform((value) => (value === 'never' ? null : value));
  return { schema, allowed: `never, or ${type.allowed}`, textForm: 'text' } as const;
}

const repositories = z.array(pattern(parseRepositoriesOfAll)).min(1);
const tags = z.array(pattern(parseTagGlob)).min(1);
const age = lifetime('1s', longest).schema;

const forever = z
  .string()
  .meta({ const: 'forever' })
  .check(({ value, issues }) => {
    const message = `${JSON.stringify(value.slice(0, 60))} is not allowed: write forever, or { newest, pushedWithin, pulledWithin }`;
    if (value !== 'forever') issues.push({ code: 'custom', message, input: value });
  })
  .transform(() => 'forever' as const);

const limits = z
  .strictObject({
    newest: z.int().min(1).max(1_000_000).optional(),
    pushedWithin: age.optional(),
    pulledWithin: age.optional(),
  })
  .refine((keep) => Object.values(keep).some((value) => value !== undefined), {
    message: 'needs at least one of newest, pushedWithin and pulledWithin',
  });

const rule = z.strictObject({ repositories, tags, keep: z.union([forever, limits]) });

/** A command without a shell: the program and its arguments. */
const command = z
  .array(z.string().regex(/^[^\0]*$/, 'has a character NUL'))
  .refine(([program]) => program !== '', {
    message: 'must begin with a program',
  });
const commandText = 'a list of a program and its arguments';
const collectorCommand = command.check(({ value, issues }) => {
  const fault = value.length === 0 || value[0] === '' ? null : findCollectorFault(value);
  if (fault !== null) issues.push({ code: 'custom', message: fault, input: value });
});

/** `clean`: what is removed from the registry, and when. */
export const clean = z
  .strictObject({
    schedule: key(
      nullable(cron()),
      null,
      'When a run begins by itself, in local time. null: only by `tidegate clean run`.',
    ),
    grace: key(
      lifetime('0', '365d'),
      '24h',
      'Nothing is taken that is younger, or that was pushed, pulled or asked for within this time. Under 1h, pushes under way may have to send a layer again.',
    ),
    quarantine: key(
      lifetime('0', '365d'),
      '7d',
      'How long `tidegate clean undo` can bring back what a run took. Then it is gone, and its bytes are free.',
    ),
    rules: key(
      tree(
        z.array(rule).refine(({ length }) => length <= maxRules, `has more than ${maxRules} rules`),
        'a list of rules { repositories, tags, keep }; keep: forever, or one or more of { newest, pushedWithin, pulledWithin }',
      ),
      [],
      'Which tags are kept. The first rule whose repositories and tags match a tag decides; a tag that no rule matches is kept for ever. keep: forever, or as long as one holds: among the newest so many by push in its repository, pushedWithin, pulledWithin.',
    ),
    untagged: key(
      lifetimeOrNever('0', longest),
      '7d',
      'How long a manifest is kept to which no kept tag, index or referrer leads, from its last push or pull on. never: for ever.',
    ),
    socket: key(
      filePath(),
      'var/clean/clean.sock',
      'Unix socket of `tidegate clean serve`, by which commands and Tidegate reach it. Its folder is created when missing.',
    ),
    pace: key(
      integer(1, 100),
      100,
      'Share of its time, in percent, that the clean-up may read the storage. Lower: slower, and less in the way of pulls.',
    ),
    digestMemory: key(
      size('16MiB', '64GiB'),
      '512MiB',
      'Memory for the digests of the storage, some 60 bytes each. A storage that names more ends a plan or run before anything is taken: whoever may push can store manifests that name very many.',
    ),
    collector: key(
      tree(collectorCommand, commandText),
      [],
      "The registry's own collector, for a storage that is not on this machine, such as [docker-registry, garbage-collect, FILE]. While it runs, writes wait for up to maxPause.",
    ),
    restart: key(
      tree(command, commandText),
      [],
      'Restarts the registry after its collector has run, such as [systemctl, restart, docker-registry]. Empty only for a registry that remembers no blobs (without storage.cache).',
    ),
    maxPause: key(
      duration('1s'),
      '30m',
      'How long writes may wait for the collector. Further ones get 503 with Retry-After.',
    ),
  })
  .refine(
    ({ collector, restart }) => !(Array.isArray(restart) && restart.length > 0 && collector.length === 0),
    {
      path: ['restart'],
      message: 'needs clean.collector: nothing else needs a restart of the registry',
      when: ({ value }) => Array.isArray((value as { collector?: unknown }).collector),
    },
  );

function parseRepositoriesOfAll(text: string): void {
  if (text.includes('$')) throw new RangeError('has a "$": a rule is the same for all users');
  parseRepositoryPattern(text);
}

function pattern(parse: (text: string) => unknown) {
  return z.string().check(({ value, issues }) => {
    try {
      parse(value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const message = `${JSON.stringify(value.slice(0, 60))} ${error.message}`;
      issues.push({ code: 'custom', message, input: value });
    }
  });
}
