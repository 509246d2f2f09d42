import type { UsageAnswer, UsageQuestion } from '../../usage/usage-question.ts';
import type { UsagePage } from '../../usage/usage-record.ts';
import type { UsageTimes } from '../../usage/usage-server.ts';
import { askDoor, type Door } from './door.ts';

export async function* readUsage<Question extends UsageQuestion>(
  doors: readonly Door[],
  question: Question,
): AsyncGenerator<UsageTimes & { readonly rows: readonly UsageAnswer<Question>[] }> {
  const read = async (door: Door, next: UsageQuestion) =>
    (await askDoor(door, { kind: 'usage', question: next })) as UsagePage | null;
  const pages = await Promise.all(doors.map((door) => read(door, question)));
  const first = pages.filter((page) => page !== null);
  if (first.length < pages.length) return;
  const asOf = Math.min(...first.map((page) => page.asOf));
  const since = Math.max(...first.map((page) => page.since));
  for (const [i, door] of doors.entries())
    for (let page = first[i] ?? null; page !== null; page = page.next ? await read(door, page.next) : null)
      // The beginning may have moved on between two pages.
      yield {
        ...{ asOf, since: Math.max(since, page.since) },
        rows: page.rows as readonly UsageAnswer<Question>[],
      };
}
