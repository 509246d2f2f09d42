import { isRepositoryName } from '../../registry/names/repository-name.ts';
import { tagForm } from '../../registry/names/tag.ts';
import { runForm } from '../quarantine/clean-folder.ts';

/**
 * What the commands say to the cleaner and hear from it, in lines of JSON. The first line of a connection is a command, or
 * the hello of a front door.
 */
export type CleanCommand =
  | { readonly command: 'plan'; readonly json: boolean; readonly all: boolean; readonly columns: number }
  | { readonly command: 'run' }
  /** @param run null: the last run that took anything */
  | { readonly command: 'undo'; readonly run: string | null }
  | { readonly command: 'purge' }
  | { readonly command: 'status'; readonly json: boolean }
  | { readonly command: 'remove-tag'; readonly repository: string; readonly tag: string };

/** How far a job is. A total of null is not known. */
export type Progress = { readonly phase: string; readonly done: number; readonly total: number | null };

export type CleanReply =
  | { readonly progress: Progress }
  /** For standard output; may be a part of a line. */
  | { readonly text: string }
  | { readonly error: string }
  | { readonly end: CommandEnd };

export type CommandEnd = {
  /** Whether a plan would take anything, or a purge delete anything. */
  readonly goes: boolean;
};

/** Reads the first line of a connection. Null: it is neither a command of this version nor a hello. */
export function parseFirstLine(line: string): CleanCommand | 'hello' | null {
  const value = parseObject(line);
  if (value === null) return null;
  if (value['kind'] === 'hello') return 'hello';
  const isFlag = (name: string) => typeof value[name] === 'boolean';
  const { command, run, columns } = value;
  const isKnown =
    command === 'run' ||
    command === 'purge' ||
    (command === 'plan' && isFlag('json') && isFlag('all') && typeof columns === 'number') ||
    (command === 'status' && isFlag('json')) ||
    (command === 'undo' && (run === null || (typeof run === 'string' && runForm.test(run)))) ||
    (command === 'remove-tag' && isImage(value));
  return isKnown ? (value as CleanCommand) : null;
}

function isImage({ repository, tag }: Record<string, unknown>): boolean {
  return (
    typeof repository === 'string' &&
    isRepositoryName(repository) &&
    typeof tag === 'string' &&
    tagForm.test(tag)
  );
}

/** Whether the job is to end at its next safe point. */
export function isStopRequest(line: string): boolean {
  return parseObject(line)?.['stop'] === true;
}

function parseObject(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
