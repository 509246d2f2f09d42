import { OperatorError } from '../../../system/operator-error.ts';
import { findMachineUsers, lookBackDays, minRecordDays } from '../../../usage/machine-users.ts';
import { askUsage } from '../../../usage/usage-client.ts';
import { count, ok, quoteForeign, skipped, warning, type Finding } from '../../finding.ts';

const check = 'htpasswd.machines';
const maxNamed = 5;

/**
 * Says which users of the htpasswd file only machines use, as far as the record of usage tells.
 *
 * @param users those in the file
 */
export async function judgeMachineUsers(
  { dir, usage }: { readonly dir: string; readonly usage: boolean },
  users: ReadonlySet<string>,
): Promise<Finding> {
  if (!usage) return skipped(check, 'state.usage is false, so nothing tells people from machines.');
  try {
    const report = await askUsage(dir, { ask: 'user-days' });
    const found = report === null ? null : findMachineUsers(report.rows, report);
    if (found === null)
      return skipped(
        check,
        `The record of usage is not ${minRecordDays} days old yet, so nothing tells people from machines.`,
      );
    const machines = found.filter(({ user }) => users.has(user));
    const [first] = machines;
    if (first === undefined)
      return ok(check, `No user seems to be a machine's, by the last ${lookBackDays} days.`);
    const named = machines
      .slice(0, maxNamed)
      .map(({ user, evidence }) => `${quoteForeign(user)} (${evidence})`);
    const more = machines.length > maxNamed ? `, and ${machines.length - maxNamed} more` : '';
    return warning(
      check,
      `${count(machines.length, 'user')} ${machines.length === 1 ? 'seems' : 'seem'} to be used by machines only: ${named.join('; ')}${more}. A machine token has scopes and an expiry; a password has neither.`,
      `tidegate token create NAME --repositories PATTERN --expires 90d, then tidegate user remove ${/^[\w.@-]+$/.test(first.user) ? first.user : 'NAME'}`,
    );
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return skipped(check, error.message, 'run doctor as root, or as the user of the service');
  }
}
