import type { AnswerCacheOptions } from '../../cache/answer-cache.ts';
import { createFetch } from '../../upstream/request.ts';
import type { EditsFor } from '../response-edits.ts';
import type { UpstreamHeaders } from '../serve/request-for-upstream.ts';
import type { WholeAnswers } from '../whole-answers.ts';
import { createMirrorFetch, createMirrorManifestStage } from './mirror-manifests.ts';
import { createMirrorSource } from './mirror-source.ts';
import { describeRouteErrors, type RegistryPorts, type RoutedParts } from './route-ports.ts';
import type { AnswerOfRoute } from './route-stage.ts';
import { createTagListStage } from './tag-list.ts';

export type RouteStages = {
  /** Fetches manifests for the cache; an error of the registry is thrown, described. */
  readonly fetch: AnswerCacheOptions['fetch'];
  readonly answerOfRoute: AnswerOfRoute;
};

export type RouteStagesOptions = {
  readonly ports: Pick<RegistryPorts, 'requestUpstream' | 'blobs'>;
  /** A whole Authorization value for the registry; null for none. */
  readonly authorization: string | null;
  readonly upstreamHeaders: UpstreamHeaders;
  readonly editsFor: EditsFor;
  readonly wholeAnswers: WholeAnswers;
  /** See limits.manifestBytes and limits.tagListBytes. */
  readonly maxManifestBytes: number;
  readonly maxTagListBytes: number;
};

/** Creates the stages of a route's registry: for a mirror, all that it asks its source about. */
export function createRouteStages(routed: RoutedParts, options: RouteStagesOptions): RouteStages {
  const { ports, authorization, upstreamHeaders, editsFor, wholeAnswers } = options;
  const { requestUpstream, blobs } = ports;
  const { description } = routed;
  const { room } = wholeAnswers;
  const describeError = describeRouteErrors(routed);
  const source = routed.isMirror
    ? createMirrorSource({ requestUpstream, description, timeoutMs: routed.sourceTimeoutMs })
    : null;
  const answerTagList = createTagListStage({
    ...{ requestUpstream, upstreamHeaders, editsFor, wholeAnswers, source, describeError },
    maxBytes: options.maxTagListBytes,
  });
  if (source === null) {
    const fetchPlainly = createFetch(requestUpstream, authorization, room);
    return {
      fetch: async (request, limits) => {
        const answer = await fetchPlainly(request, limits);
        if (answer === null || answer.status < 400) return answer;
        throw describeError(request.rawTarget, answer);
      },
      answerOfRoute: answerTagList,
    };
  }
  const fetch = createMirrorFetch({
    ...{ authorization, source, blobs, room, description, describeError },
  });
  const answerManifest = createMirrorManifestStage({
    ...{ fetch, editsFor, wholeAnswers, description },
    maxBytes: options.maxManifestBytes,
  });
  return {
    fetch,
    answerOfRoute: async (exchange, request) =>
      (await answerManifest(exchange, request)) || (await answerTagList(exchange, request)),
  };
}
