import type { MetricValue } from './metric-family.ts';

/** Counts the distribution of values, with two additions per value. */
export type Histogram = {
  observe(seconds: number): void;
  /** In Prometheus' form: the count up to each bound, the sum and the total count. */
  values(name: string, labels: MetricValue['labels']): MetricValue[];
};

/** @param boundsSeconds the upper bounds, ascending; larger values count too */
export function createHistogram(boundsSeconds: readonly number[]): Histogram {
  const counts = new Float64Array(boundsSeconds.length + 1);
  let sum = 0;
  return {
    observe: (seconds) => {
      let i = 0;
      while (seconds > (boundsSeconds[i] ?? Infinity)) i += 1;
      counts[i] = (counts[i] ?? 0) + 1;
      sum += seconds;
    },
    values: (name, labels) => {
      let count = 0;
      const buckets = [...counts].map((own, i): MetricValue => {
        count += own;
        return {
          metricName: `${name}_bucket`,
          labels: { ...labels, le: boundsSeconds[i] ?? '+Inf' },
          value: count,
        };
      });
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ];
    },
  };
}
