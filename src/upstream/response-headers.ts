import type { OutgoingMessage } from 'node:http';
import { headerPairs, type RawHeaders } from '../http/raw-headers.ts';
import { hopByHop, namedByConnection } from './hop-by-hop.ts';
import { rewriteLocation, type LocationNames } from './location.ts';

/** Changes to a response of upstream. */
export type ResponseEdits = {
  /** Fields that replace upstream's own of the same name (Vary is added, not replaced). */
  readonly set: Readonly<Record<string, string>>;
  readonly names: LocationNames;
  /** Whether Tidegate decides on other origins: upstream's own Access-Control fields are removed. */
  readonly ownsCors: boolean;
  /** Whether tokens of the first protocol are passed on: X-Docker-Token, and WWW-Authenticate with one. */
  readonly passesV1Tokens: boolean;
  /** Whether a field of upstream is passed on, by its name in lower case; left out: every one. */
  readonly passes?: ((name: string) => boolean) | undefined;
  /** Gives the name here of a path at upstream, in Location and Link; left out: it is the same. */
  readonly outerPath?: ((path: string) => string) | undefined;
};

/** What differs from one answer to the next. */
export type AnswerEdits = {
  /** Only a chunked answer can have trailers; Node refuses to announce them for any other. */
  readonly mayHaveTrailers: boolean;
  /** Edits a Location that points here, without scheme and authority; undefined: it stays as it is. */
  readonly editLocation: ((location: string) => string) | undefined;
};

const noAnswerEdits: AnswerEdits = { mayHaveTrailers: false, editLocation: undefined };

/**
 * Builds the response headers for the client: upstream's own, byte for byte, less hop-by-hop fields; Location points
 * here.
 */
export function buildClientHeaders(
  rawHeaders: RawHeaders,
  edits: ResponseEdits,
  { mayHaveTrailers, editLocation }: AnswerEdits = noAnswerEdits,
): string[] {
  const dropped = namedByConnection(rawHeaders);
  for (const name of Object.keys(edits.set)) if (name !== 'Vary') dropped.add(name.toLowerCase());
  if (!mayHaveTrailers) dropped.add('trailer');
  const headers: string[] = [];
  const { names, outerPath } = edits;
  const editHere = outerPath
    ? (location: string) => (editLocation ?? same)(outerPath(location))
    : editLocation;
  for (const [name, value] of headerPairs(rawHeaders)) {
    const key = name.toLowerCase();
    if (hopByHop.has(key) || dropped.has(key)) continue;
    if (!edits.passesV1Tokens && isV1Token(key, value)) continue;
    if (edits.passes?.(key) === false) continue;
    if (edits.ownsCors && key.startsWith('access-control-')) continue;
    if (key === 'location') headers.push(name, rewriteLocation(value, names, editHere));
    else headers.push(name, key === 'link' && outerPath ? rewriteLinks(value, outerPath) : value);
  }
  for (const [name, value] of Object.entries(edits.set)) headers.push(name, value);
  return headers;
}

function same(text: string): string {
  return text;
}

/** Points the targets of a Link (RFC 8288 section 3) here: registries link only to their own lists. */
function rewriteLinks(value: string, outerPath: (path: string) => string): string {
  return value.replace(/<([^<>]*)>/g, (_, target: string) => {
    const path = target.replace(/^(?:https?:)?\/\/[^/?#]*/i, '');
    return `<${outerPath(path)}>`;
  });
}

function isV1Token(key: string, value: string): boolean {
  return key === 'x-docker-token' || (key === 'www-authenticate' && /^token\b/i.test(value));
}

/** Sends a head without its body. Node's flushHeaders would encode it as UTF-8, which changes bytes above ASCII. */
export function sendHead(message: OutgoingMessage): void {
  message.write('', 'latin1');
}
