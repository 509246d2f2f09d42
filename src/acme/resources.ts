import * as z from 'zod';
import { AcmeError } from './problem.ts';

/*
 * The resources of RFC 8555 section 7.1, as far as they are used. What a CA sends is checked before it is used, and further
 * members are left out.
 */

const url = z.string().max(2000);
const problem = z.object({
  type: z.string().max(200).optional(),
  detail: z.string().optional(),
  subproblems: z
    .array(
      z.object({ detail: z.string().optional(), identifier: z.object({ value: z.string() }).optional() }),
    )
    .optional(),
});
const status = z.string().max(40);

export const directorySchema = z.object({
  newNonce: url,
  newAccount: url,
  newOrder: url,
  renewalInfo: url.optional(),
  meta: z
    .object({ termsOfService: z.string().optional(), externalAccountRequired: z.boolean().optional() })
    .optional(),
});
export const accountSchema = z.object({ status });
export const orderSchema = z.object({
  status,
  authorizations: z.array(url).max(200),
  finalize: url,
  certificate: url.optional(),
  error: problem.optional(),
});
export const authorizationSchema = z.object({
  status,
  identifier: z.object({ type: z.string(), value: z.string().max(300) }),
  challenges: z
    .array(
      z.object({
        type: z.string().max(40),
        status: status.optional(),
        url: url.optional(),
        token: z.string().max(1000).optional(),
        error: problem.optional(),
      }),
    )
    .max(50),
});
export const renewalInfoSchema = z.object({
  suggestedWindow: z.object({
    start: z.iso.datetime({ offset: true }),
    end: z.iso.datetime({ offset: true }),
  }),
  explanationURL: z.string().optional(),
});
export const problemSchema = problem;

export type Directory = z.output<typeof directorySchema>;
export type Order = z.output<typeof orderSchema>;
export type Authorization = z.output<typeof authorizationSchema>;
export type RenewalInfo = z.output<typeof renewalInfoSchema>;
export type Problem = z.output<typeof problem>;

/** Parses an answer. @throws AcmeError when it is not what the CA should have sent */
export function parseResource<S extends z.ZodType>(body: Buffer, schema: S, what: string): z.output<S> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw new AcmeError(`The CA's ${what} is not JSON.`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue?.path.map(String).join('.') ?? '';
  throw new AcmeError(`The CA's ${what} is not as RFC 8555 has it${place === '' ? '' : ` (${place})`}.`);
}
