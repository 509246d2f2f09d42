/** The names of the parts, in their order: what `--only` may name has to be known before anything is compiled. */
export const partNames = [
  'faults of upstream',
  'faults of clients',
  'faults of Redis and disk',
  'attacks',
  'fuzzing',
  'soak',
  'TLS',
  'supply chain',
];
