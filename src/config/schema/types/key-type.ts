import { isIP, isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';
import { durationPattern, longestTimerMs, parseDuration, parseSize, sizePattern } from './units.ts';

/** Converts a key's text form (environment, flag, `_env:`) to its YAML form. */
type TextForm = 'text' | 'integer' | 'boolean' | 'list' | 'yaml';

/** The type of a key: the zod schema of its YAML form, and what else loader, reference and `config show` need. */
export type KeyType<S extends z.ZodType = z.ZodType> = {
  readonly schema: S;
  /** The allowed values, in words; used in problems and in the reference. */
  readonly allowed: string;
  readonly textForm: TextForm;
  readonly isNullable?: true;
  /** Never printed: not in problems, not in `config show`. */
  readonly isSecret?: true;
  /** A file's path, or a list of them, made absolute by the loader. */
  readonly isPath?: true;
  /** The members of each item of a list that are such paths, such as `upstream.ca`. */
  readonly pathMembers?: readonly string[];
  /** Those that are never printed. */
  readonly secretMembers?: readonly string[];
};

type KeyDescription = KeyType & { readonly fallback: unknown; readonly description: string };

/** The arguments of `key` for each schema of the configuration. */
export const keyDescriptions = new WeakMap<z.core.$ZodType, KeyDescription>();

/** A key: its type, its default in YAML form and its meaning in one or two plain sentences. */
export function key<S extends z.ZodType>(
  type: KeyType<S>,
  fallback: z.input<S>,
  description: string,
): z.ZodPrefault<S> {
  const schema = z.prefault(type.schema, fallback).describe(description);
  keyDescriptions.set(schema, { ...type, fallback, description });
  return schema;
}

/** One of some words. */
export function oneOf<const W extends readonly [string, ...string[]]>(...words: W) {
  return { schema: z.enum(words), allowed: words.join(', '), textForm: 'text' } as const;
}

/** A whole number, bounds included. */
export function integer(min: number, max: number) {
  return {
    schema: z.int().min(min).max(max),
    allowed: `a whole number from ${min} to ${max}`,
    textForm: 'integer',
  } as const;
}

/** Yes or no. */
export function boolean() {
  return { schema: z.boolean(), allowed: 'true or false', textForm: 'boolean' } as const;
}

/** A duration with its unit, bounds included; parsed to milliseconds. */
export function duration(min: string, max = '24d') {
  const minMs = parseDuration(min);
  const maxMs = Math.min(parseDuration(max), longestTimerMs);
  return quantity(
    parseDuration,
    durationPattern,
    minMs,
    maxMs,
    `a duration from ${min} to ${max} (units ms, s, m, h, d)`,
  );
}

/** A size with its unit, bounds included; parsed to bytes. */
export function size(min: string, max: string) {
  const allowed = `a size from ${min} to ${max} (units B, KiB, MiB, GiB)`;
  return quantity(parseSize, sizePattern, parseSize(min), parseSize(max), allowed);
}

/** A duration for which no timer waits, and so of any length. */
export function lifetime(min: string, max: string) {
  const allowed = `a duration from ${min} to ${max} (units ms, s, m, h, d)`;
  return quantity(parseDuration, durationPattern, parseDuration(min), parseDuration(max), allowed);
}

function quantity(
  parse: (text: string) => number,
  pattern: string,
  min: number,
  max: number,
  allowed: string,
) {
  const text = z.string().meta({ pattern });
  // YAML reads a bare 0 as a number; it needs no unit where nothing at all is allowed.
  const input = min === 0 ? z.union([text, z.literal(0)]) : text;
  const schema = input.transform((value: string | 0, context) => {
    try {
      const parsed = parse(String(value));
      if (parsed >= min && parsed <= max) return parsed;
      context.addIssue({
        code: 'custom',
        message: `${value} is too ${parsed < min ? 'small' : 'large'}`,
      });
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as RangeError).message });
    }
    return z.NEVER;
  });
  return { schema, allowed, textForm: 'text' } as const;
}

/** Text that passes a regular expression. */
export function text(pattern: RegExp, allowed: string) {
  return { schema: z.string().regex(pattern), allowed, textForm: 'text' } as const;
}

/** A file's path; relative ones are relative to the configuration's base folder. */
export function filePath() {
  const schema = z.string().refine((path) => path.trim() !== '' && !/\p{Cc}/u.test(path), {
    // The value is not repeated: someone may have pasted a private key where its file's name belongs.
    message: "is not a file's path",
  });
  return { schema, allowed: 'the path of a file', textForm: 'text', isPath: true } as const;
}

/** A list of such paths. */
export function filePaths() {
  const allowed = 'a list of paths of files';
  return { ...filePath(), schema: z.array(filePath().schema), allowed, textForm: 'list' } as const;
}

/** A folder's path, relative ones likewise. */
export function folderPath() {
  return { ...filePath(), allowed: 'the path of a folder' };
}

/** The same, or null. */
export function nullable<S extends z.ZodType>(type: KeyType<S>): KeyType<z.ZodNullable<S>> {
  return {
    ...type,
    schema: type.schema.nullable(),
    allowed: `${type.allowed}, or null`,
    isNullable: true,
  };
}

/** A list whose items are text for which `findFault` returns undefined, or else a sentence that names the fault. */
export function listOf(findFault: (item: string) => string | undefined, allowed: string) {
  const item = z.string().check((context) => {
    const fault = findFault(context.value);
    if (fault !== undefined) context.issues.push({ code: 'custom', message: fault, input: context.value });
  });
  return { schema: z.array(item), allowed, textForm: 'list' } as const;
}

/** Lists and mappings of more than one level; in environment, flags and `_env:` as YAML in one line. */
export function tree<S extends z.ZodType>(schema: S, allowed: string) {
  return { schema, allowed, textForm: 'yaml' } as const;
}

/** `auto`, the result of `choose` on this machine, or a number from 1. */
export function autoOrNumber(max: number, choose: () => number) {
  return {
    schema: z
      .union([z.literal('auto'), z.int().min(1).max(max)])
      .transform((value) => (value === 'auto' ? choose() : value)),
    allowed: `auto, or a whole number from 1 to ${max}`,
    textForm: 'integer',
  } as const;
}

/** An address or a name to listen on. */
export function listenHost() {
  const schema = z
    .string()
    .refine((host) => isIP(host) > 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host));
  return {
    schema,
    allowed: 'an IPv4 or IPv6 address without brackets, or a host name',
    textForm: 'text',
  } as const;
}

/** Addresses and networks (CIDR, RFC 4632). */
export function networks() {
  return listOf((network) => {
    const [, address = '', prefix] = /^([^/%]+)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(network) ?? [];
    const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
    return bits > 0 && (prefix === undefined || Number(prefix) <= bits)
      ? undefined
      : `${JSON.stringify(network)} is neither an address nor a network`;
  }, 'a list of addresses and networks such as 10.0.0.0/8, 192.0.2.7 or fd00::/8');
}
