import { headerValues, type RawHeaders } from './raw-headers.ts';
import { trimCharacters } from './trim-characters.ts';

/** What a request says about what it is part of; anyone may say anything, so it names things and decides nothing. */
export type TraceContext = {
  /** The client's X-Request-Id; null for none, or for one that is not taken over. */
  readonly clientRequestId: string | null;
  /** The trace of its traceparent, 32 hexadecimal digits; null: none, and its own begins here. */
  readonly traceId: string | null;
  /** Whether whoever is before us in the trace may have recorded it. */
  readonly isSampled: boolean;
  /** What other tracing systems add; null for nothing. */
  readonly state: string | null;
};

/** What upstream is told: the fields X-Request-Id, traceparent and tracestate. */
export type TraceFields = {
  readonly requestId: string;
  readonly traceparent: string;
  readonly tracestate: string | null;
};

/** Our line in the log is a record of the trace, so one that begins here is marked as sampled. */
const nothingSaid: TraceContext = { clientRequestId: null, traceId: null, isSampled: true, state: null };

/** Long enough for every tool that makes them, and nothing in it that a log, a URL or a shell would take for something else. */
const requestIdForm = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** W3C Trace Context, section 3.2: version, trace-id, parent-id, trace-flags; what a later version adds is passed over. */
const traceparentForm = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const knownVersion = '00';
const invalidVersion = 'ff';
const allZero = /^0+$/;
const sampledFlag = 1;

/** W3C Trace Context, section 3.3.1: one member of tracestate. */
const memberForm =
  /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
/** Section 3.3.1.1: more is not valid. */
const maxMembers = 32;
/** Section 3.3.1.5: what everyone should pass on; of more, the oldest go. */
const maxStateLength = 512;

/** Reads X-Request-Id, traceparent and tracestate; what is not of their form counts as not said. */
export function readTraceContext(rawHeaders: RawHeaders): TraceContext {
  if (!saysAnything(rawHeaders)) return nothingSaid;
  const [requestId = '', ...moreIds] = headerValues(rawHeaders, 'x-request-id');
  const clientRequestId = moreIds.length === 0 && requestIdForm.test(requestId) ? requestId : null;
  const parent = readTraceparent(headerValues(rawHeaders, 'traceparent'));
  if (parent === null) return { ...nothingSaid, clientRequestId };
  return { clientRequestId, ...parent, state: readTracestate(headerValues(rawHeaders, 'tracestate')) };
}

/** Almost no request does, and each pays for the look. */
function saysAnything(rawHeaders: RawHeaders): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.length === 11 && name.toLowerCase() === 'traceparent') return true;
    if (name.length === 12 && name.toLowerCase() === 'x-request-id') return true;
  }
  return false;
}

function readTraceparent(values: readonly string[]): Pick<TraceContext, 'traceId' | 'isSampled'> | null {
  if (values.length !== 1) return null;
  const [, version, traceId = '', parentId = '', flags = '', rest] =
    traceparentForm.exec(values[0] ?? '') ?? [];
  if (version === undefined || version === invalidVersion) return null;
  if (version === knownVersion && rest !== undefined) return null;
  if (allZero.test(traceId) || allZero.test(parentId)) return null;
  return { traceId, isSampled: (parseInt(flags, 16) & sampledFlag) !== 0 };
}

function readTracestate(values: readonly string[]): string | null {
  const members = values
    .join(',')
    .split(',')
    .map((member) => trimCharacters(member, ' \t'))
    .filter((member) => member !== '');
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf('='))));
  if (members.length > maxMembers || keys.size < members.length) return null;
  if (!members.every((member) => memberForm.test(member))) return null;
  let state = '';
  for (const member of members) {
    const longer = state === '' ? member : `${state},${member}`;
    if (longer.length > maxStateLength) break;
    state = longer;
  }
  return state === '' ? null : state;
}

const spanIdLength = 16;

/**
 * What upstream is told about a request of ours: the client's id if it gave one, and our own step in the trace, by the beginning of
 * `id`, which is 32 random hexadecimal digits. A trace that begins here has `id` for its name.
 */
export function continueTrace(
  id: string,
  { clientRequestId, traceId, isSampled, state }: TraceContext,
): TraceFields {
  const flags = isSampled ? '01' : '00';
  return {
    requestId: clientRequestId ?? id,
    traceparent: `${knownVersion}-${traceId ?? id}-${id.slice(0, spanIdLength)}-${flags}`,
    tracestate: state,
  };
}
