/**
 * Every error that Tidegate itself answers: code → HTTP status.
 * The codes of the OCI distribution-spec ("Error Codes") are used where one fits; the others follow its form, [A-Z_]+.
 */
const statusByCode = {
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  NAME_UNKNOWN: 404,
  BLOB_UPLOAD_UNKNOWN: 404,
  UNSUPPORTED: 405,
  REQUEST_TIMEOUT: 408,
  LENGTH_REQUIRED: 411,
  SIZE_INVALID: 413,
  EXPECTATION_FAILED: 417,
  TOOMANYREQUESTS: 429,
  HEADERS_TOO_LARGE: 431,
  UNKNOWN: 500,
  BAD_GATEWAY: 502,
  UNAVAILABLE: 503,
  GATEWAY_TIMEOUT: 504,
} as const;

export type OciErrorCode = keyof typeof statusByCode;

/** An answer of Tidegate's own that is not a success. Thrown anywhere, written only by the pipeline's error boundary. */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly code: OciErrorCode;
  readonly status: number;
  /** Further response headers: WWW-Authenticate, Allow, Retry-After. */
  readonly headers: Readonly<Record<string, string>>;

  /** @param message one sentence for the person at the client; never a secret, never an internal address. */
  constructor(
    code: OciErrorCode,
    message: string,
    options: { headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = statusByCode[code];
    this.headers = options.headers ?? {};
  }
}

/** The error body of the distribution-spec, with the request id that the log line carries. */
export function formatErrorBody(code: OciErrorCode, message: string, requestId: string): string {
  return JSON.stringify({ errors: [{ code, message, detail: { requestId } }] }) + '\n';
}
