import type { Chrome } from './chrome.ts';
import { Fill } from './fill.tsx';
import { Foreign } from './foreign.tsx';

type TimeProps = {
  readonly chrome: Chrome;
  readonly ms: number;
  /** Written out to the minute; otherwise as far ago as it is. */
  readonly isExact?: boolean;
};

export function Time({ chrome: { f, nowMs }, ms, isExact = false }: TimeProps) {
  const minute = `${new Date(Math.min(ms, 8.64e15)).toISOString().replace(/:\d\d\.\d{3}Z$/, '')}Z`;
  return <time dateTime={minute}>{isExact ? f.dateTime(ms) : f.relative(ms, nowMs)}</time>;
}

/** Of the name of who did something: jobs have long ones. */
const maxByBytes = 100;

/** When something happened and who did it, as far as that is known. */
export function WhenBy({
  chrome,
  ms,
  by,
  isExact = false,
}: {
  readonly chrome: Chrome;
  readonly ms: number | null;
  readonly by: string | null;
  readonly isExact?: boolean;
}) {
  if (ms === null) return <Unknown chrome={chrome} />;
  const time = <Time chrome={chrome} ms={ms} isExact={isExact} />;
  return by === null ? (
    time
  ) : (
    <Fill text={chrome.t.common.whenBy} parts={[time, <Foreign text={by} max={maxByBytes} />]} />
  );
}

/** A size; null is not known yet. */
export function Bytes({ chrome, value }: { readonly chrome: Chrome; readonly value: number | null }) {
  return value === null ? <Unknown chrome={chrome} /> : <>{chrome.f.bytes(value)}</>;
}

/** A dash for the eye, a word for a screen reader. */
export function Unknown({ chrome: { t } }: { readonly chrome: Chrome }) {
  return (
    <>
      <span class="muted" aria-hidden="true">
        –
      </span>
      <span class="sr">{t.common.unknown}</span>
    </>
  );
}

/** The beginning of a digest, enough to tell two apart: 12 digits, without the algorithm. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}
