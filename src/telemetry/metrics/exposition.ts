import { AggregatorRegistry } from 'prom-client';
import type { MetricFamily } from './metric-family.ts';

/** What a scrape is answered with. */
export type Exposition = { readonly contentType: string; readonly text: string };

/** Adds up what several processes report, and writes it in Prometheus' text format 0.0.4. */
export async function formatExposition(reports: readonly (readonly MetricFamily[])[]): Promise<Exposition> {
  const registry = AggregatorRegistry.aggregate([...reports]);
  return { contentType: registry.contentType, text: await registry.metrics() };
}
