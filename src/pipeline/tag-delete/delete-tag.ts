import { OciError } from '../../registry/error.ts';
import type { UpstreamError } from '../../upstream/forward.ts';
import type { InternalRequest } from '../../upstream/request.ts';
import { endAnswer } from '../error-response.ts';
import type { Exchange } from '../exchange.ts';
import type { RefusedBodies } from '../refused-bodies.ts';
import type { EditsFor } from '../response-edits.ts';
import { writeWholeHead } from '../serve/cache-response.ts';
import { buildInternalHeaders } from '../serve/internal-request.ts';
import type { UpstreamWarnings } from '../upstream-warnings.ts';
import type { WholeAnswers } from '../whole-answers.ts';
import type { RemovalEnd, TagRemoval } from './tag-removal.ts';

export type DeleteTagOptions = Pick<TagRemoval, 'prepare' | 'remove'> & {
  /** A whole Authorization value for upstream; null for none. */
  readonly authorization: string | null;
  readonly editsFor: EditsFor;
  readonly wholeAnswers: WholeAnswers;
  readonly refusedBodies: RefusedBodies;
  readonly warnings: UpstreamWarnings;
  /** Describes an error of the registry; null: its own answer is passed on. */
  readonly describeError: ((rawTarget: string, answer: UpstreamError) => OciError) | null;
};

/** The delete of a tag that runs alone in its repository. */
export type RunningDelete = {
  readonly repository: string;
  readonly tag: string;
  /** The request for upstream. */
  readonly asked: Pick<InternalRequest, 'rawTarget' | 'headers'>;
  /** Aborted when it may no longer be alone; null: that cannot happen. */
  readonly lost: AbortSignal | null;
  /** To be called when it is known how it ended, before the client is told. */
  readonly ended: (status: number) => Promise<void>;
};

export type DeleteTag = {
  readonly prepare: TagRemoval['prepare'];
  /**
   * Deletes a tag and answers: by the registry's own answer, or for one that deletes only digests. A client that leaves
   * does not stop it. @throws OciError
   */
  readonly run: (exchange: Exchange, running: RunningDelete) => Promise<void>;
};

export function createDeleteTag(options: DeleteTagOptions): DeleteTag {
  const { prepare, remove, authorization, editsFor, wholeAnswers, refusedBodies, warnings, describeError } =
    options;

  const answer = (exchange: Exchange, { repository, tag, asked }: RunningDelete, end: RemovalEnd): void => {
    const { res } = exchange;
    if (res.destroyed) return;
    switch (end.kind) {
      case 'answered': {
        const { status } = end.answer;
        if (status >= 400 && describeError !== null) throw describeError(asked.rawTarget, end.answer);
        if (status === 401) warnings.challenge(exchange);
        wholeAnswers.send(exchange, writeWholeHead(exchange, end.answer, editsFor(exchange)));
        return;
      }
      case 'removed':
        res.writeHead(202, {
          ...exchange.answerHeaders,
          'Docker-Distribution-Api-Version': 'registry/2.0',
          'Content-Length': 0,
        });
        endAnswer(exchange, refusedBodies);
        return;
      case 'absent':
        throw new OciError('MANIFEST_UNKNOWN', `There is no tag ${tag} in ${repository}.`);
      case 'unsupported':
        throw new OciError(
          'UNSUPPORTED',
          'The registry does not allow deletes, so the tag is still there. Whoever runs it can allow them: storage.delete.enabled in the configuration of docker-registry.',
        );
    }
  };

  const run: DeleteTag['run'] = async (exchange, running) => {
    const { res } = exchange;
    // Upstream may act on it from here on, whether or not an answer comes.
    exchange.transfer = { waitsForClient: () => false, bytesIn: 0, bytesOut: 0 };
    res.once('close', () => {
      if (!res.writableFinished) exchange.reason ??= 'client-left';
    });
    const headers = buildInternalHeaders(exchange, authorization);
    const signal = running.lost ?? new AbortController().signal;
    const end = await remove(running, running.asked, headers, signal);
    await running.ended(statusOf(end));
    answer(exchange, running, end);
  };
  return { prepare, run };
}

function statusOf(end: RemovalEnd): number {
  switch (end.kind) {
    case 'answered':
      return end.answer.status;
    case 'removed':
      return 202;
    case 'absent':
      return 404;
    case 'unsupported':
      return 405;
  }
}
