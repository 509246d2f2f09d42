import { checkMachineTokens } from '../../../app/configured-files.ts';
import { OperatorError } from '../../../system/operator-error.ts';
import { broken, ok, warning, type Finding } from '../../finding.ts';

/** Reads the file of machine tokens as `serve` does, and says which tokens had better go. */
export async function judgeMachineTokens(path: string, now: Date): Promise<Finding> {
  const check = 'tokens.machine';
  try {
    const { tokens, warnings } = await checkMachineTokens(path, now);
    if (warnings.length > 0) return warning(check, warnings.join(' '), `tidegate token list --file ${path}`);
    if (tokens === 0) return ok(check, 'There are no machine tokens.');
    return ok(check, `Every machine token expires, and was used within 90 days, as far as that is known.`);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return broken(check, error.message, `tidegate token list --file ${path}`);
  }
}
