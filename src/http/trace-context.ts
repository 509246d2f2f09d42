import { headerValues, type RawHeaders } from './raw-headers.ts';
import { trimCharacters } from './trim-characters.ts';

/** The ids and trace of a request. Anyone may send anything, so they only name it and decide nothing. */
export type TraceContext = {
  /** The client's X-Request-Id; null for none, or an invalid one. */
  readonly clientRequestId: string | null;
  /** The trace of its traceparent, 32 hexadecimal digits; null: none, so a trace begins here. */
  readonly traceId: string | null;
  /** Whether the caller in the trace may have recorded it. */
  readonly isSampled: boolean;
  /** The tracestate of other tracing systems; null for none. */
  readonly state: string | null;
};

/** The fields for upstream: X-Request-Id, traceparent and tracestate. */
export type TraceFields = {
  readonly requestId: string;
  readonly traceparent: string;
  readonly tracestate: string | null;
};

/** The log line is a record of the trace, so one that begins here is marked as sampled. */
const nothingSaid: TraceContext = { clientRequestId: null, traceId: null, isSampled: true, state: null };

/** Long enough for every tool's ids, without characters that are special in a log, URL or shell. */
const requestIdForm = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** W3C Trace Context, section 3.2: version, trace-id, parent-id, trace-flags; additions of later versions are ignored. */
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
/** Section 3.3.1.5: the length that everyone should forward; beyond it the oldest members are dropped. */
const maxStateLength = 512;

/** Reads X-Request-Id, traceparent and tracestate; malformed ones are ignored. */
export function readTraceContext(rawHeaders: RawHeaders): TraceContext {
  if (!saysAnything(rawHeaders)) return nothingSaid;
  const [requestId = '', ...moreIds] = headerValues(rawHeaders, 'x-request-id');
  const clientRequestId = moreIds.length === 0 && requestIdForm.test(requestId) ? requestId : null;
  const parent = readTraceparent(headerValues(rawHeaders, 'traceparent'));
  if (parent === null) return { ...nothingSaid, clientRequestId };
  return { clientRequestId, ...parent, state: readTracestate(headerValues(rawHeaders, 'tracestate')) };
}

/** Almost no request has one, and each pays for this check. */
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
 * Builds the fields for upstream: the client's id if it sent one, and Tidegate's own span, whose id is the beginning of
 * `id` (32 random hexadecimal digits). A trace that begins here has `id` as its trace id.
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
