import type { UsageFile, UsagePull, UsageRow, UserDay } from './usage-file.ts';

/** A question to the record, for the rows after one of them. */
export type UsageQuestion =
  | { readonly ask: 'repositories'; readonly after?: string }
  | { readonly ask: 'references'; readonly repository: string; readonly after?: string }
  /** The last pulls in several repositories, at most {@link maxPullsOf}. */
  | { readonly ask: 'pulls'; readonly repositories: readonly string[]; readonly after?: string }
  | { readonly ask: 'user-days'; readonly after?: Pick<UserDay, 'user' | 'day' | 'family'> };

/** The rows that answer a question. */
export type UsageAnswer<Question extends UsageQuestion = UsageQuestion> = Question extends {
  ask: 'user-days';
}
  ? UserDay
  : Question extends { ask: 'pulls' }
    ? UsagePull
    : UsageRow;

/** The most repositories of one question. */
export const maxPullsOf = 100;

/** How many rows are read at once: other calls have their turn between two pages. */
const pageRows = 500;
/** Those of pulls are short. */
const pagePulls = 2000;

/** Reads the next rows; fewer than a page, but none, may come before the end. */
export function readPage(file: UsageFile, question: UsageQuestion): readonly UsageAnswer[] {
  switch (question.ask) {
    case 'repositories':
      return file.repositories(question.after ?? '', pageRows);
    case 'references':
      return file.references(question.repository, question.after ?? null, pageRows);
    case 'pulls':
      return readPulls(file, question.repositories, question.after ?? '');
    case 'user-days':
      return file.userDays(question.after ?? { user: '', day: '', family: '' }, pageRows);
  }
}

/** @param after the last name that is known of the first repository */
function readPulls(file: UsageFile, repositories: readonly string[], after: string): UsagePull[] {
  const pulls: UsagePull[] = [];
  for (const [index, repository] of repositories.entries()) {
    if (pulls.length >= pagePulls) break;
    for (const pull of file.pulls(repository, index === 0 ? after : '', pagePulls)) pulls.push(pull);
  }
  return pulls;
}

/** The same question, for the rows after this page; null: there are none. */
export function afterPage(question: UsageQuestion, page: readonly UsageAnswer[]): UsageQuestion | null {
  const last = page.at(-1);
  if (last === undefined) return null;
  if (question.ask === 'pulls') {
    if (!('repository' in last)) return null;
    const at = question.repositories.indexOf(last.repository);
    return at === -1
      ? null
      : { ...question, repositories: question.repositories.slice(at), after: last.name };
  }
  if (question.ask === 'user-days')
    return 'user' in last
      ? { ask: question.ask, after: { user: last.user, day: last.day, family: last.family } }
      : null;
  return 'name' in last ? { ...question, after: last.name } : null;
}

/** Reads a question that came as text; null: it is none. */
export function parseQuestion(text: string): UsageQuestion | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { ask, repository, repositories } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (ask === 'repositories' || ask === 'user-days') return { ask };
  if (ask === 'pulls') return areNames(repositories) ? { ask, repositories } : null;
  return ask === 'references' && typeof repository === 'string' ? { ask, repository } : null;
}

function areNames(value: unknown): value is string[] {
  return (
    Array.isArray(value) && value.length <= maxPullsOf && value.every((name) => typeof name === 'string')
  );
}
