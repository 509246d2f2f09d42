/** Numbers, sizes and times as readers of one language write them. */
export type Formats = {
  /** A whole number with separators. */
  count(value: number): string;
  /** Decimal units, three digits: `1.27 GB`. */
  bytes(value: number): string;
  /** A day, in UTC. */
  date(ms: number): string;
  /** To the minute, in UTC. */
  dateTime(ms: number): string;
  /** `3 hours ago` within a week, else the day. */
  relative(ms: number, nowMs: number): string;
};

const byteUnits = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'] as const;
const secondMs = 1000;
const steps = [
  { unit: 'minute', ms: 60 * secondMs, belowMs: 3600 * secondMs },
  { unit: 'hour', ms: 3600 * secondMs, belowMs: 86_400 * secondMs },
  { unit: 'day', ms: 86_400 * secondMs, belowMs: 7 * 86_400 * secondMs },
] as const;
/** The latest time of a Date. */
const maxMs = 8.64e15;

export function createFormats(locale: string): Formats {
  // "12 Mar 2026" is read alike everywhere; "3/12" is not.
  const name = locale === 'en' ? 'en-GB' : locale;
  const numbers = new Intl.NumberFormat(name);
  const sizes = byteUnits.map(
    (unit) =>
      new Intl.NumberFormat(name, {
        style: 'unit',
        unit,
        unitDisplay: unit === 'byte' ? 'long' : 'short',
        maximumSignificantDigits: 3,
        roundingPriority: 'lessPrecision',
      }),
  );
  const relatives = new Intl.RelativeTimeFormat(name, { numeric: 'auto' });
  const dates = new Intl.DateTimeFormat(name, { dateStyle: 'medium', timeZone: 'UTC' });
  const times = new Intl.DateTimeFormat(name, { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
  const date = (ms: number) => dates.format(Math.min(ms, maxMs));
  return {
    count: (value) => numbers.format(value),
    bytes: (value) => {
      // 999.6 kB would be written as 1,000 kB.
      const power = value < 1 ? 0 : Math.floor(Math.log10(Number(value.toPrecision(3))) / 3);
      const index = Math.min(byteUnits.length - 1, power);
      return sizes[index]?.format(value / 1000 ** index) ?? '';
    },
    date,
    dateTime: (ms) => `${times.format(Math.min(ms, maxMs))} UTC`,
    relative: (ms, nowMs) => {
      const apartMs = Math.abs(ms - nowMs);
      if (apartMs < 45 * secondMs) return relatives.format(0, 'second');
      const step = steps.find(({ belowMs }) => apartMs < belowMs);
      if (step === undefined) return date(ms);
      const amount = Math.max(1, Math.floor(apartMs / step.ms));
      return relatives.format(ms < nowMs ? -amount : amount, step.unit);
    },
  };
}
