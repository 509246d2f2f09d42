import { listOf } from './key-type.ts';

/** Texts, each of which a User-Agent may contain. */
export function userAgents() {
  return listOf(
    (agent) =>
      /^[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?$/.test(agent)
        ? undefined
        : `${JSON.stringify(agent.slice(0, 40))} is not part of a User-Agent`,
    'a list of texts, each 1 to 200 printable ASCII characters, not a regular expression',
  );
}
