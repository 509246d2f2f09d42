import { monitorEventLoopDelay } from 'node:perf_hooks';
import { counter, gauge, type MetricFamily } from './metric-family.ts';

/** The resources that this process uses, and its event loop lag. */
export type ProcessMetrics = {
  families(): MetricFamily[];
  close(): void;
};

/** The lag in the last whole window, in milliseconds: reading it does not begin a new window. */
const windowMs = 10_000;
/** How often the lag is measured, in milliseconds. */
const resolutionMs = 20;

export function openProcessMetrics(): ProcessMetrics {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  // A measurement is the time between two timers; the part beyond their interval is lag.
  const read = () => ({
    p50: toLagSeconds(delay.percentile(50)),
    p99: toLagSeconds(delay.percentile(99)),
    max: toLagSeconds(delay.max),
  });
  let lag: ReturnType<typeof read> | undefined;
  const timer = setInterval(() => {
    lag = read();
    delay.reset();
  }, windowMs).unref();
  const startSeconds = Date.now() / 1000 - process.uptime();
  let residentBytes: number | null = null;
  /** Read from a file, which throws without a free descriptor; then the last value stays. */
  const readResidentBytes = (): number | null => {
    try {
      residentBytes = process.memoryUsage.rss();
    } catch {
      // a process without a free descriptor must keep serving
    }
    return residentBytes;
  };
  return {
    families: () => {
      const { user, system } = process.cpuUsage();
      return [
        gauge(
          'tidegate_event_loop_lag_seconds',
          'Event loop lag of the slowest process, within 10 seconds.',
          'max',
          Object.entries(lag ?? read()).map(([stat, value]) => ({ labels: { stat }, value })),
        ),
        gauge(
          'tidegate_resident_memory_bytes',
          'Memory of all processes together.',
          'sum',
          readResidentBytes(),
        ),
        counter('tidegate_cpu_seconds_total', 'CPU time of all processes together.', (user + system) / 1e6),
        gauge(
          'tidegate_start_time_seconds',
          'When the oldest process was started, since the epoch.',
          'min',
          startSeconds,
        ),
      ];
    },
    close: () => {
      clearInterval(timer);
      delay.disable();
    },
  };
}

/** @param nanoseconds NaN, or the largest number, before the first measurement */
function toLagSeconds(nanoseconds: number): number {
  const seconds = nanoseconds / 1e9 - resolutionMs / 1000;
  return seconds > 0 && seconds < 1e6 ? seconds : 0;
}
