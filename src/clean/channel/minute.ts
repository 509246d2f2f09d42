export const minuteMs = 60_000;

/** A time as commands and messages say it: to the minute, in UTC. */
export function formatMinute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}
