/** The median. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The first and the ninth tenth and the median between them; neighbours count in proportion. */
export function middleRange(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.1, 0.5, 0.9].map((part) => {
    const at = part * (sorted.length - 1);
    const low = Math.floor(at);
    return sorted[low] + (sorted[Math.ceil(at)] - sorted[low]) * (at - low);
  });
}

/** The median of the ratios of each round, so that a disturbed round does not distort it. */
export function medianRatio(values, peers) {
  return median(values.map((value, round) => value / peers[round]));
}

/** Formats a number with few digits. */
export function digits(value) {
  if (Number.isInteger(value)) return String(value);
  const places = value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.01 ? 2 : 4;
  return value.toFixed(places);
}

/** "median (least–most)". */
export function spread(values) {
  if (values.length === 1) return digits(values[0]);
  return `${digits(median(values))} (${digits(Math.min(...values))}–${digits(Math.max(...values))})`;
}

/** Formats the number of measurements for the pages. */
export function describeRounds(rounds) {
  return rounds === 1 ? 'Measured once.' : `Medians of ${rounds} rounds.`;
}

/**
 * Measures each subject once a round. Subjects take turns, each round beginning with another one, so that whatever else
 * the machine does falls on all alike.
 * @template {{ key: string, name: string }} S
 * @template T
 * @param {readonly S[]} subjects
 * @param {number} rounds
 * @param {(subject: S, round: number) => Promise<T>} measureOne
 * @returns {Promise<Map<string, T[]>>} what was measured, by the subject's key, in the order of rounds
 */
export async function takeTurns(subjects, rounds, measureOne) {
  const results = new Map(subjects.map((subject) => [subject.key, []]));
  for (let round = 0; round < rounds; round += 1) {
    process.stdout.write(`  round ${round + 1} of ${rounds}:`);
    for (let i = 0; i < subjects.length; i += 1) {
      const subject = subjects[(i + round) % subjects.length];
      process.stdout.write(` ${subject.key}`);
      results.get(subject.key).push(await measureOne(subject, round));
    }
    process.stdout.write('\n');
  }
  return results;
}
