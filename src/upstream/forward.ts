import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { OciError } from '../registry/error.ts';
import { relayAnswer, type AnswerRelay } from './answer-relay.ts';
import { CollectedBytes } from '../system/collected-bytes.ts';
import type { BodyBuffers } from './body/body-buffers.ts';
import type { RelayBudget } from './body/relay-budget.ts';
import { createRequestBody, type RequestBody } from './body/request-body.ts';
import { sendHead, type AnswerEdits, type ResponseEdits } from './response-headers.ts';
import { createProxiedRequests, type OpenProxied } from './proxied-requests.ts';
import { openUpstreamRequest, type UpstreamAccess, type UpstreamRequest } from './upstream-request.ts';

export type ForwarderOptions = UpstreamAccess & {
  /** The budget of bytes that wait for slow readers. */
  readonly budget: RelayBudget;
  /** Opens a body's buffers, which count for the budget. */
  readonly openBuffers: () => BodyBuffers;
};

/** An answer of 400 or above. */
export type UpstreamError = {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  /** Empty if it is longer than an error is. */
  readonly body: Buffer;
};

export type ForwardRequest = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The request target, sent to upstream byte for byte. */
  readonly rawTarget: string;
  readonly headers: Record<string, string | string[]>;
  readonly edits: ResponseEdits;
  readonly editLocation: AnswerEdits['editLocation'];
  /** The size limit of the body, in bytes: one that turns out larger gets 413. The caller refuses one that announces it. */
  readonly maxBodyBytes: number;
  /**
   * Called with upstream's status and raw headers; nothing is sent to the client before it is done. A rejection is the
   * error.
   */
  readonly onResponse: (status: number, rawHeaders: readonly string[]) => Promise<void> | undefined;
  /** See RequestBodyOptions. A rejection is the error. */
  readonly beforeEnd?: (() => Promise<void> | undefined) | undefined;
  /**
   * Called when the client leaves and upstream has the whole request: whether to wait for upstream's answer, which
   * alone tells the outcome. Left out: no.
   */
  readonly outlivesClient?: (() => boolean) | undefined;
  /** Describes an error of upstream in words for the client; left out: upstream's own answer is relayed. */
  readonly describeError?: (answer: UpstreamError) => OciError;
  /** How long upstream may take until its answer begins, for a request without a body; left out: its read timeout. */
  readonly answerLimit?: { readonly timeoutMs: number; readonly error: () => OciError } | undefined;
};

/**
 * The result of a transfer: the whole answer was written (`res` still has to be ended), or one side broke off and both
 * were cut.
 */
export type TransferEnd = 'relayed' | 'client-left' | 'upstream-broke';

/** One forwarded request, from its request line to the last byte of the answer. */
export type Transfer = {
  /** Rejects with an OciError when upstream gave no answer; then nothing has been sent to the client. */
  readonly ended: Promise<TransferEnd>;
  /** Whether the transfer waits for the client: for more of its body, or to read. */
  waitsForClient(): boolean;
  readonly bytesIn: number;
  readonly bytesOut: number;
};

/** Forwards requests to upstream and answers back, with back-pressure both ways and without storing them. */
export type Forwarder = { forward(request: ForwardRequest): Transfer };

/** What all transfers of an forwarder share. */
type ForwarderParts = {
  readonly access: UpstreamAccess;
  readonly budget: RelayBudget;
  readonly openBuffers: () => BodyBuffers;
  readonly openProxied: OpenProxied;
};

/** The longest body of an error that is read to be described, in bytes. */
const maxErrorBytes = 64 * 1024;

export function createForwarder({ budget, openBuffers, ...access }: ForwarderOptions): Forwarder {
  const openProxied = createProxiedRequests(access.upstream.url);
  const parts = { access, budget, openBuffers, openProxied };
  return { forward: (request) => new ForwardTransfer(parts, request) };
}

/** Forwards the client's request, relays upstream's answer, and ends once, whichever side ends it. */
class ForwardTransfer implements Transfer {
  readonly ended: Promise<TransferEnd>;
  bytesIn = 0;
  bytesOut = 0;
  readonly #parts: ForwarderParts;
  readonly #request: ForwardRequest;
  readonly #requestBody: RequestBody;
  readonly #upstreamRequest: UpstreamRequest;
  #answer: IncomingMessage | undefined;
  #relay: AnswerRelay | undefined;
  #isOver = false;
  #answerTimer: NodeJS.Timeout | undefined;
  #resolve: (end: TransferEnd) => void = () => {};
  #reject: (error: OciError) => void = () => {};

  constructor(parts: ForwarderParts, request: ForwardRequest) {
    this.#parts = parts;
    this.#request = request;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#requestBody = this.#createRequestBody();
    this.#upstreamRequest = this.#openUpstreamRequest();
    request.res.on('close', this.#onClientClose);
    const { answerLimit } = request;
    if (answerLimit)
      this.#answerTimer = setTimeout(() => this.#fail(answerLimit.error()), answerLimit.timeoutMs);
  }

  waitsForClient(): boolean {
    if (this.#isOver) return true;
    if (this.#answer) return this.#relay?.waitsForClient() ?? false;
    const isOpen = this.#upstreamRequest.current() !== undefined;
    return isOpen && !this.#request.req.complete && !this.#requestBody.waitsForUpstream();
  }

  #createRequestBody(): RequestBody {
    const { req, maxBodyBytes, beforeEnd } = this.#request;
    return createRequestBody({
      req,
      openBuffers: this.#openBuffers,
      onBytes: (bytes) => {
        this.bytesIn += bytes;
        if (this.bytesIn > maxBodyBytes) this.#fail(tooLarge(maxBodyBytes));
      },
      beforeEnd:
        beforeEnd &&
        (() => {
          const held = beforeEnd();
          held?.catch((error: unknown) => this.#fail(error as OciError));
          return held;
        }),
    });
  }

  #openUpstreamRequest(): UpstreamRequest {
    const { req } = this.#request;
    return openUpstreamRequest(this.#parts.access, {
      open: (agent, events) => this.#parts.openProxied(this.#request, this.#requestBody, agent, events),
      isRepeatable: req.method === 'GET' || req.method === 'HEAD',
      onSocket: (upstreamRequest) => this.#writeRequestHead(upstreamRequest),
      waitsForUpstream: () => !this.waitsForClient() && !this.#requestBody.isHeld(),
      onResponse: (answer) => this.#onAnswer(answer),
      onFailure: (error) => {
        if (!this.#answer) this.#fail(error);
      },
      onSilence: (error) => {
        if (this.#answer) this.#cut('upstream-broke');
        else this.#fail(error);
      },
    });
  }

  #writeRequestHead(upstreamRequest: ClientRequest): void {
    const { req, rawTarget, headers } = this.#request;
    if (upstreamRequest.headersSent) {
      upstreamRequest.destroy();
      return;
    }
    upstreamRequest.path = rawTarget;
    // Set here and not by http-proxy: Node's constructor would reverse the fields of an object.
    for (const [name, value] of Object.entries(headers)) upstreamRequest.setHeader(name, value);
    // Sends a head whose body is not here yet alone: upstream may refuse it by the head.
    setImmediate(() => {
      if (!this.#isOver && !req.complete) sendHead(upstreamRequest);
    });
  }

  #onAnswer(answer: IncomingMessage): void {
    this.#answer = answer;
    clearTimeout(this.#answerTimer);
    answer.on('error', () => {}); // 'close' follows
    answer.on('close', () => this.#cut('upstream-broke')); // does nothing after 'end'
    const hold = this.#request.onResponse(answer.statusCode ?? 0, answer.rawHeaders);
    const start = () => this.#startAnswer(answer);
    if (hold === undefined) start();
    else hold.then(start, (error: unknown) => this.#fail(error as OciError));
  }

  #startAnswer(answer: IncomingMessage): void {
    const { describeError } = this.#request;
    if (describeError === undefined || (answer.statusCode ?? 0) < 400) this.#startRelay(answer);
    else if (!this.#isOver) this.#readError(answer, describeError);
  }

  #readError(answer: IncomingMessage, describe: (answer: UpstreamError) => OciError): void {
    const { req } = this.#request;
    const { statusCode: status = 0, rawHeaders } = answer;
    const body = new CollectedBytes();
    let isLong = false;
    answer.on('data', (chunk: Buffer) => {
      isLong ||= body.length + chunk.length > maxErrorBytes;
      if (!isLong) body.add(chunk);
      else answer.destroy();
    });
    const end = (keepsUpstream: boolean): void => {
      if (!this.#end(keepsUpstream)) return;
      const read = isLong ? Buffer.alloc(0) : body.read();
      this.#reject(describe({ status, rawHeaders, body: read }));
    };
    answer.on('end', () => end(req.complete));
    answer.prependListener('close', () => end(false));
  }

  #startRelay(answer: IncomingMessage): void {
    const { req, res, edits, editLocation } = this.#request;
    if (this.#isOver) return;
    if (res.destroyed) {
      this.#cut('client-left');
      return;
    }
    try {
      this.#relay = relayAnswer({
        answer,
        req,
        res,
        edits,
        editLocation,
        budget: this.#parts.budget,
        openBuffers: this.#openBuffers,
        onBytes: (bytes) => (this.bytesOut += bytes),
        onEnd: (keepsUpstream) => {
          if (this.#end(keepsUpstream)) this.#resolve('relayed');
        },
      });
    } catch (error) {
      this.#fail(error as OciError);
    }
  }

  readonly #openBuffers = (): BodyBuffers => {
    const buffers = this.#parts.openBuffers();
    this.#request.res.once('close', buffers.forget);
    return buffers;
  };

  readonly #onClientClose = (): void => {
    const hasAll = this.#upstreamRequest.current()?.writableEnded === true;
    const waits = !this.#answer && hasAll && this.#request.outlivesClient?.() === true;
    if (!waits) this.#cut('client-left');
  };

  #fail(error: OciError): void {
    if (this.#end(false)) this.#reject(error);
  }

  #cut(end: TransferEnd): void {
    if (!this.#end(false)) return;
    this.#request.res.destroy();
    this.#resolve(end);
  }

  /** Returns false when it is over already. */
  #end(keepsUpstream: boolean): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#answerTimer);
    this.#relay?.close();
    this.#request.res.off('close', this.#onClientClose);
    if (keepsUpstream) this.#upstreamRequest.release();
    else {
      this.#requestBody.stop();
      this.#upstreamRequest.destroy();
    }
    return true;
  }
}

/** The 413 for a manifest over the limit. */
export function tooLarge(maxBytes: number): OciError {
  return new OciError(
    'SIZE_INVALID',
    `The body is larger than the ${maxBytes} bytes that a manifest may have.`,
  );
}
