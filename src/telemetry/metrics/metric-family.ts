/** One value of a metric; processes send it to each other as JSON. */
export type MetricValue = {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** The metric's name with a suffix, for the parts of a histogram. */
  readonly metricName?: string;
};

/** A metric with its values in one process. */
export type MetricFamily = {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** How to merge the values of several processes. */
  readonly aggregator: 'sum' | 'max' | 'min';
  readonly values: readonly MetricValue[];
};

/** A number, or a value for each set of labels. */
type Values = number | readonly MetricValue[];

/** A value that only grows, and is summed over processes, ended ones included. */
export function counter(name: string, help: string, values: Values): MetricFamily {
  return { name, help, type: 'counter', aggregator: 'sum', values: listValues(values) };
}

/** A current value of the running processes; null: unknown. */
export function gauge(
  name: string,
  help: string,
  aggregator: MetricFamily['aggregator'],
  values: Values | null,
): MetricFamily {
  return { name, help, type: 'gauge', aggregator, values: values === null ? [] : listValues(values) };
}

/** A distribution; `values` are those of a {@link createHistogram}. */
export function histogram(name: string, help: string, values: readonly MetricValue[]): MetricFamily {
  return { name, help, type: 'histogram', aggregator: 'sum', values };
}

function listValues(values: Values): readonly MetricValue[] {
  return typeof values === 'number' ? [{ labels: {}, value: values }] : values;
}
