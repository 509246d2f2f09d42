import type { CleanModel, CleanRun, PlannedTag } from '../changes/clean-up.ts';
import type { Chrome } from '../components/chrome.ts';
import { Fill } from '../components/fill.tsx';
import { Foreign } from '../components/foreign.tsx';
import { CsrfField } from '../components/forms.tsx';
import { Layout } from '../components/layout.tsx';
import { links } from '../components/links.ts';
import { NoticeBox } from '../components/notice.tsx';
import { Bytes, Time, Unknown, WhenBy } from '../components/values.tsx';

export type CleanPageProps = {
  readonly chrome: Chrome;
  readonly model: CleanModel;
  readonly mayUndo: boolean;
  /** What the cleaner said when undo was asked for; in English. */
  readonly undoFailure: string | null;
};

/** What the clean-up would take, and what it took and can bring back. */
export function CleanPage({ chrome, model, mayUndo, undoFailure }: CleanPageProps) {
  const { t } = chrome;
  return (
    <Layout chrome={chrome} title={t.clean.title} section="clean">
      <h1>{t.clean.title}</h1>
      {undoFailure === null ? null : (
        <NoticeBox kind="failed">
          {t.clean.undoFailed}{' '}
          <span lang="en">
            <Foreign text={undoFailure} max={400} />
          </span>
        </NoticeBox>
      )}
      {model.kind === 'plan' ? (
        <Plan chrome={chrome} plan={model} />
      ) : model.kind === 'busy' ? (
        <NoticeBox kind="info">
          {t.clean.busy}{' '}
          <span lang="en">
            <Foreign text={model.why} max={400} />
          </span>
        </NoticeBox>
      ) : (
        <p>{model.kind === 'off' ? t.clean.off : t.clean.unreachable}</p>
      )}
      {model.kind === 'plan' || model.kind === 'busy' ? (
        <Runs chrome={chrome} runs={model.runs} mayUndo={mayUndo} />
      ) : null}
    </Layout>
  );
}

type PlanProps = { readonly chrome: Chrome; readonly plan: Extract<CleanModel, { kind: 'plan' }> };

function Plan({ chrome, plan }: PlanProps) {
  const { t, f } = chrome;
  const { goes, tags, warnings } = plan;
  const isNothing = goes.tags + goes.manifests + goes.blobs === 0;
  const tile = (name: string, value: string) => (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
  return (
    <section aria-labelledby="plan">
      <h2 id="plan">{t.clean.plan}</h2>
      <p class="muted">
        <Fill text={t.common.asOf} parts={[<Time chrome={chrome} ms={plan.asOfMs} />]} />
        {' · '}
        {plan.nextRunMs === null ? (
          t.clean.byCommand
        ) : (
          <Fill text={t.clean.nextRun} parts={[<Time chrome={chrome} ms={plan.nextRunMs} isExact />]} />
        )}
      </p>
      {warnings.map((warning, index) => (
        <NoticeBox key={index} kind="warning">
          <span lang="en">
            <Foreign text={warning} max={400} />
          </span>
        </NoticeBox>
      ))}
      {isNothing ? (
        <p class="empty">{plan.hasRules ? t.clean.nothing : t.clean.noRules}</p>
      ) : (
        <>
          <dl class="tiles">
            {tile(t.clean.free, f.bytes(goes.bytes))}
            {tile(t.repositories.tags, f.count(goes.tags))}
            {tile(t.clean.manifests, f.count(goes.manifests))}
            {tile(t.clean.blobs, f.count(goes.blobs))}
          </dl>
          {tags.length === 0 ? null : <PlannedTags chrome={chrome} tags={tags} total={goes.tags} />}
        </>
      )}
    </section>
  );
}

type PlannedTagsProps = {
  readonly chrome: Chrome;
  readonly tags: readonly PlannedTag[];
  readonly total: number;
};

function PlannedTags({ chrome, tags, total }: PlannedTagsProps) {
  const { t, f } = chrome;
  return (
    <>
      <table class="cards">
        <caption>{t.clean.tagsGo}</caption>
        <thead>
          <tr>
            <th scope="col">{t.repository.tag}</th>
            <th scope="col">{t.clean.why}</th>
            <th scope="col">{t.common.pushed}</th>
            <th scope="col">{t.common.pulled}</th>
            <th scope="col" class="n">
              {t.clean.ownBytes}
            </th>
          </tr>
        </thead>
        <tbody>
          {tags.map((row) => (
            <tr key={`${row.repository}:${row.tag}`}>
              <th scope="row">
                <a href={links.image(row.repository, row.tag)}>
                  <Foreign text={`${row.repository}:${row.tag}`} />
                </a>
              </th>
              <td lang="en">
                <Foreign text={row.why} max={120} />
              </td>
              <td data-l={t.common.pushed}>
                <WhenBy chrome={chrome} ms={row.pushedMs} by={null} />
              </td>
              <td data-l={t.common.pulled}>
                <WhenBy chrome={chrome} ms={row.pulledMs} by={null} />
              </td>
              <td class="n" data-l={t.clean.ownBytes}>
                <Bytes chrome={chrome} value={row.bytes} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {total > tags.length ? <p class="muted">{t.common.more(f.count(total - tags.length))}</p> : null}
    </>
  );
}

type RunsProps = {
  readonly chrome: Chrome;
  readonly runs: readonly CleanRun[];
  readonly mayUndo: boolean;
};

function Runs({ chrome, runs, mayUndo }: RunsProps) {
  const { t } = chrome;
  return (
    <section aria-labelledby="runs">
      <h2 id="runs">{t.clean.runs}</h2>
      <p>{t.clean.runsLead}</p>
      {runs.length === 0 ? (
        <p class="muted">{t.clean.noRuns}</p>
      ) : (
        <form method="post" action={links.undo}>
          <CsrfField chrome={chrome} />
          <table class="cards">
            <caption class="sr">{t.clean.runs}</caption>
            <thead>
              <tr>
                <th scope="col">{t.clean.run}</th>
                <th scope="col">{t.clean.taken}</th>
                <th scope="col">{t.clean.state}</th>
                <th scope="col" class="n">
                  {t.clean.held}
                </th>
                <th scope="col">
                  <span class="sr">{t.clean.undo}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {runs.map((run) => (
                <RunLine key={run.run} chrome={chrome} run={run} mayUndo={mayUndo} />
              ))}
            </tbody>
          </table>
        </form>
      )}
    </section>
  );
}

function RunLine({
  chrome,
  run,
  mayUndo,
}: {
  readonly chrome: Chrome;
  readonly run: CleanRun;
  readonly mayUndo: boolean;
}) {
  const { t, f } = chrome;
  return (
    <tr>
      <th scope="row">
        {run.beganMs === null ? (
          <Unknown chrome={chrome} />
        ) : (
          <Time chrome={chrome} ms={run.beganMs} isExact />
        )}
        <small>
          <code>
            <Foreign text={run.run} max={64} />
          </code>
        </small>
      </th>
      <td>{t.clean.took(f.count(run.tags), f.count(run.manifests))}</td>
      <td>{t.clean.states[run.state]}</td>
      <td class="n" data-l={t.clean.held}>
        <Bytes chrome={chrome} value={run.bytes} />
      </td>
      <td class="end">
        {mayUndo && run.canUndo ? (
          <button name="run" value={run.run} aria-label={t.clean.undoOne(run.run)}>
            {t.clean.undo}
          </button>
        ) : null}
      </td>
    </tr>
  );
}
