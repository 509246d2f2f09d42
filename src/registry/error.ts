/**
 * Every error that Tidegate itself answers: code → HTTP status.
 * The codes of the OCI distribution-spec ("Error Codes") are used where one fits; the others follow its form, [A-Z_]+.
 */
const statusByCode = {
  BAD_REQUEST: 400,
  NAME_INVALID: 400,
  TAG_INVALID: 400,
  DIGEST_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  NAME_UNKNOWN: 404,
  MANIFEST_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  UNSUPPORTED: 405,
  REQUEST_TIMEOUT: 408,
  LENGTH_REQUIRED: 411,
  SIZE_INVALID: 413,
  EXPECTATION_FAILED: 417,
  TOOMANYREQUESTS: 429,
  RANGE_INVALID: 416,
  HEADERS_TOO_LARGE: 431,
  UNKNOWN: 500,
  BAD_GATEWAY: 502,
  UNAVAILABLE: 503,
  GATEWAY_TIMEOUT: 504,
} as const;

export type OciErrorCode = keyof typeof statusByCode;

/** Whether this is one of the codes above. */
export function isErrorCode(code: string): code is OciErrorCode {
  return Object.hasOwn(statusByCode, code);
}

/** The OAuth2 error in the answer to a token request (RFC 6749 section 5.2); its status is 400. */
export type OauthError = 'invalid_request' | 'invalid_grant' | 'unsupported_grant_type' | 'invalid_scope';

/** An error that Tidegate itself answers. Thrown anywhere, written only by the pipeline's error boundary. */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly code: OciErrorCode;
  readonly status: number;
  /** Further response headers: WWW-Authenticate, Allow, Retry-After. */
  readonly headers: Readonly<Record<string, string>>;
  readonly oauth: OauthError | null;
  /** The `reason` of the request's log line; null: the code says enough. */
  readonly reason: string | null;

  /** @param message one sentence for the person at the client; never a secret, never an internal address. */
  constructor(
    code: OciErrorCode,
    message: string,
    options: {
      headers?: Record<string, string>;
      /** Left out: that of the code. */
      status?: number;
      oauth?: OauthError;
      reason?: string;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = options.oauth === undefined ? (options.status ?? statusByCode[code]) : 400;
    this.headers = options.headers ?? {};
    this.oauth = options.oauth ?? null;
    this.reason = options.reason ?? null;
  }
}

/**
 * The error body of the distribution-spec, with the request id of the log line, and an OAuth2 error for a token
 * request. `detail` may be any JSON, but crane, kaniko, oras and helm print an object as `map[…]`, as Go does: so it is
 * a text.
 */
export function formatErrorBody(
  code: OciErrorCode,
  message: string,
  requestId: string,
  oauth: OauthError | null = null,
): string {
  const errors = [{ code, message, detail: `request id ${requestId}` }];
  const own = oauth === null ? {} : { error: oauth, error_description: message };
  return JSON.stringify({ ...own, errors }) + '\n';
}
