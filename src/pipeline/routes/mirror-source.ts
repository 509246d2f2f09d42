import { OciError } from '../../registry/error.ts';
import type { Fetched, FetchLimits, InternalRequest, RequestUpstream } from '../../upstream/request.ts';
import { describeErrorAnswer } from './route-error.ts';

/**
 * What a registry in proxy mode gets from the registry that it mirrors. It asks its source about each tag and all that
 * it lacks, waits for as long as that is silent, and answers 404 when it cannot reach it.
 */
export type MirrorSource = {
  /** Sends a request that the mirror may ask its source about; `silent`: it took too long. @throws OciError */
  ask(request: InternalRequest, limits: FetchLimits): Promise<Fetched | null | 'silent'>;
  /** Call it after a 404 that may mean no answer of the source. @throws OciError when it does */
  check(repository: string, headers: InternalRequest['headers'], signal: AbortSignal): Promise<void>;
  /** The error for a source that is silent. */
  silent(): OciError;
};

export type MirrorSourceOptions = {
  readonly requestUpstream: RequestUpstream;
  /** What clients are told the mirror is, as the beginning of a sentence. */
  readonly description: string;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
};

/** No registry has a blob with it, so the mirror always asks its source about it. */
const nobodysDigest = `sha256:${'0'.repeat(64)}`;
const maxErrorBytes = 64 * 1024;

/** @param description what clients are told the mirror is, as the beginning of a sentence */
export function silentSource(description: string, timeoutMs: number): OciError {
  return new OciError(
    'GATEWAY_TIMEOUT',
    `${description} waits for what it mirrors, and that did not answer within ${timeoutMs} ms.`,
  );
}

export function createMirrorSource(options: MirrorSourceOptions): MirrorSource {
  const { requestUpstream, description, timeoutMs } = options;
  const silent = () => silentSource(description, timeoutMs);

  const ask: MirrorSource['ask'] = async (request, limits) => {
    const late = AbortSignal.timeout(timeoutMs);
    try {
      return await requestUpstream(request, { ...limits, signal: AbortSignal.any([limits.signal, late]) });
    } catch (error) {
      if (late.aborted && !limits.signal.aborted) return 'silent';
      throw error;
    }
  };

  return {
    ...{ ask, silent },
    check: async (repository, headers, signal) => {
      const rawTarget = `/v2/${repository}/blobs/${nobodysDigest}`;
      const answer = await ask({ method: 'GET', rawTarget, headers }, { maxBytes: maxErrorBytes, signal });
      if (answer === 'silent') throw silent();
      if (answer !== null && answer.status >= 500)
        throw describeErrorAnswer(answer, { description, isMirror: true }, (text) => text);
    },
  };
}
