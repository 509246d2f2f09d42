import type { Policy } from '../../policy/decision.ts';
import type { AuditChange } from '../changes/change-audit.ts';
import type { CleanUp } from '../changes/clean-up.ts';
import { mayCleanUp } from '../changes/rights.ts';
import { links, withQuery } from '../components/links.ts';
import { ConsoleError } from '../console-error.ts';
import { CleanPage } from '../pages/clean-page.tsx';
import type { Place, Visit } from '../visit.ts';
import type { ChromeOf } from './chrome-of.ts';

export type CleanPlaceOptions = {
  readonly chromeOf: ChromeOf;
  readonly policy: Pick<Policy, 'decideForAll'>;
  readonly cleanUp: CleanUp;
  readonly audit: AuditChange | null;
};

/** What the clean-up would take, and undo: for those who may see and delete every image. */
export function createCleanPlaces(options: CleanPlaceOptions): readonly Place[] {
  const { chromeOf, policy, cleanUp, audit } = options;
  const principalOf = ({ authentication }: Visit) => {
    const principal = authentication?.principal;
    if (principal === undefined || !mayCleanUp(policy, principal)) throw new ConsoleError('forbidden');
    return principal;
  };
  const show = async (visit: Visit, undoFailure: string | null) => {
    principalOf(visit);
    const model = await cleanUp.read();
    return {
      page: <CleanPage chrome={chromeOf(visit)} model={model} mayUndo undoFailure={undoFailure} />,
    };
  };
  return [
    { pattern: /^clean$/, get: (visit) => show(visit, null) },
    {
      pattern: /^clean\/undo$/,
      post: async (visit) => {
        const principal = principalOf(visit);
        const run = visit.form.get('run') ?? '';
        const result = await cleanUp.undo(run);
        audit?.(visit.exchange, principal, 'clean-undo', result.kind === 'failed' ? 'failure' : 'success', {
          run,
        });
        if (result.kind === 'failed') return { ...(await show(visit, result.why)), status: 422 };
        const done = result.kind === 'done' ? { done: 'undone', of: run } : {};
        return { redirectTo: withQuery(links.clean, { done: null, of: null, ...done }) };
      },
    },
  ];
}
