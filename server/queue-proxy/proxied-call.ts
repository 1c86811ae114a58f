import { Code } from "@connectrpc/connect";
import {
  callShed,
  deadlineInQueue,
  proxyQueueFull,
  proxyTimeout,
  rateLimited,
} from "../errors/proxy-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallerStream } from "../wire/caller-stream.ts";
import type { FailureAnswer } from "../wire/client/forward-failure.ts";
import type { OutgoingHead } from "../wire/client/forwarded-heads.ts";
import { type ForwardEnd, ForwardedStream } from "../wire/client/forwarded-stream.ts";
import type { WireCallError } from "../wire/client/wire-call-error.ts";
import { formatGrpcTimeout } from "../wire/grpc/grpc-timeout.ts";
import { Http1RequestHead } from "../wire/http1/read-head.ts";
import type { OutgoingField } from "../wire/http2/hpack/hpack-encoder.ts";
import { HeaderTemplate } from "../wire/http2/hpack/hpack-encoder.ts";
import type { RequestHead, ResponseHead } from "../wire/http2/message-head.ts";
import type { CallPlace } from "./call-rules.ts";
import { isProxied } from "./knative-headers.ts";
import { grpcFields, plainAnswer, refusalAnswer, textAnswer } from "./local-answers.ts";
import type { ListedCall, ProxyHost } from "./proxy-host.ts";
import type { Flow } from "./queue/flow.ts";
import type { QueuedCall, ShedReason } from "./queue/queued-call.ts";
import type { ClassMetrics } from "./queue-metrics.ts";
import { outgoingRequestHead } from "./rewrite-head.ts";
import type { CallTrace } from "./trace-context.ts";
import { tracedHead } from "./traced-head.ts";

/** Text that callers of HTTP get for a full queue, as Knative words it. */
const queueFullText = "pending request queue full";
const timeoutText = "request timeout";

/** One call of the pod: waits for its turn, goes to the user's container, and is timed and counted. */
export class ProxiedCall extends ForwardedStream implements QueuedCall, ListedCall {
  readonly flow: Flow;
  readonly cost: number;
  queuedAt = -1;
  flowBefore: QueuedCall | undefined = undefined;
  flowAfter: QueuedCall | undefined = undefined;
  levelBefore: QueuedCall | undefined = undefined;
  levelAfter: QueuedCall | undefined = undefined;
  waitingBytes = 0;
  listBefore: ListedCall | undefined = undefined;
  listAfter: ListedCall | undefined = undefined;
  readonly #host: ProxyHost;
  readonly #address: string;
  readonly #metrics: ClassMetrics;
  readonly arrivedAt: number;
  readonly #proxied: boolean;
  readonly #trace: CallTrace | undefined;
  #admittedAt = -1;
  /** When the whole call must be over, by the clock. */
  #totalAt: number;
  #answeredAt = -1;
  /** Bytes that had moved when the time was last looked at. */
  #movedBytes = 0;

  /**
   * @param place - of the call in the queue
   * @param address - of the caller
   */
  constructor(
    incoming: CallerStream,
    head: RequestHead,
    bare: boolean,
    host: ProxyHost,
    { className, tenant, cost }: CallPlace,
    address: string,
  ) {
    super(incoming, head, bare, head instanceof Http1RequestHead ? host.http1 : host.http2);
    this.#host = host;
    this.#address = address;
    const now = performance.now();
    this.arrivedAt = now;
    this.flow = host.queue.flowOf(host.queue.classes.get(className)!, tenant, now);
    this.cost = cost;
    this.#metrics = host.metrics.ofClass(className);
    this.#proxied = isProxied(head);
    this.#trace = host.tracer?.begin(head);
    this.#totalAt = now + host.times.totalMs;
    const timeoutMs = this.readTimeout();
    if (timeoutMs !== undefined) this.deadlineAt = now + timeoutMs;
  }

  /** Begins the life of the call: it is sent, waits or is refused. */
  start(): void {
    const now = this.arrivedAt;
    const host = this.#host;
    host.openCalls++;
    host.calls.add(this);
    host.statistics.begin(now, this.#proxied);
    host.busyPoll?.touch(now);
    host.queue.offer(this, now);
    if (!this.over) this.#arm(now);
  }

  get traceId(): string {
    return this.#trace?.traceId ?? "";
  }

  get waits(): boolean {
    return this.queuedAt !== -1;
  }

  // For the queue.

  admit(): void {
    this.#admittedAt = performance.now();
    this.begin();
  }

  shed(reason: ShedReason, retryAfterMs: number): void {
    const waitedMs = performance.now() - this.arrivedAt;
    const error = this.#refusalOf(reason, waitedMs, retryAfterMs);
    const text = reason === "deadline" ? timeoutText : httpText(reason, error);
    this.conclude(refusalAnswer(error, this.protocol, this.head, text), error.code, error.message);
  }

  #refusalOf(reason: ShedReason, waitedMs: number, retryAfterMs: number): TensorwireError {
    const { flow } = this;
    const { policy } = flow.callClass;
    const { queue } = this.#host;
    switch (reason) {
      case "queue-full":
        return proxyQueueFull(`${queue.waiting} calls wait`, retryAfterMs);
      case "queue-bytes":
        return proxyQueueFull(`${queue.waitingBytes} bytes wait`, retryAfterMs);
      case "rate": {
        const caller = flow.tenant === "" ? `class ${policy.name}` : flow.tenant;
        const rate =
          flow.bucket?.perSecond ?? flow.callClass.bucket?.perSecond ?? queue.policy.rate;
        return rateLimited(caller, rate, retryAfterMs);
      }
      case "displaced":
        return callShed("a call of a higher level took its place", waitedMs, retryAfterMs);
      case "max-wait":
        return callShed("its class may wait no longer", waitedMs, retryAfterMs);
      case "codel":
        return callShed("calls wait too long", waitedMs, retryAfterMs);
      case "deadline":
        return deadlineInQueue(this.readTimeout() ?? 0, waitedMs);
    }
  }

  // Time.

  /** One timer is armed, for all times of the call. */
  override armDeadline(): void {}

  override fire(): void {
    if (this.over || this.error || this.incoming.localEnded) return;
    const now = performance.now();
    const { times, queue } = this.#host;
    if (now >= this.deadlineAt) {
      if (this.waits) queue.expire(this, "deadline");
      else super.fire();
      return;
    }
    if (this.waits && now >= this.#waitEndsAt()) {
      queue.expire(this, "max-wait");
      return;
    }
    if (now >= this.#totalAt && !this.#livesOn(now)) {
      this.#timeOut("request", times.totalMs);
      return;
    }
    if (now >= this.#responseStartAt()) {
      this.#timeOut("response-start", times.responseStartMs);
      return;
    }
    if (now >= this.#idleAt()) {
      this.#timeOut("idle", times.idleMs);
      return;
    }
    this.#arm(now);
  }

  #arm(now: number): void {
    const due = Math.min(
      this.deadlineAt,
      this.#totalAt,
      this.#waitEndsAt(),
      this.#responseStartAt(),
      this.#idleAt(),
    );
    if (due < Number.POSITIVE_INFINITY) this.wheel.arm(this, Math.max(0, due - now));
  }

  #waitEndsAt(): number {
    return this.waits
      ? this.queuedAt + this.flow.callClass.policy.maxWaitMs
      : Number.POSITIVE_INFINITY;
  }

  #responseStartAt(): number {
    return this.answering
      ? Number.POSITIVE_INFINITY
      : this.arrivedAt + this.#host.times.responseStartMs;
  }

  #idleAt(): number {
    // Knative counts from the beginning of the call until the first byte is written.
    const since = this.#answeredAt === -1 ? this.arrivedAt : this.#answeredAt;
    return since + this.#host.times.idleMs;
  }

  /** True for a stream on which something has moved since the time was last looked at. */
  #livesOn(now: number): boolean {
    const { times } = this.#host;
    if (this.protocol !== "grpc" || times.grpcStreams === "all") return false;
    const moved = this.requestBytes + this.responseBytes;
    if (moved === this.#movedBytes || this.waits) return false;
    this.#movedBytes = moved;
    this.#totalAt = now + times.totalMs;
    return true;
  }

  #timeOut(which: string, limitMs: number): void {
    if (this.waits) this.#host.queue.leave(this);
    const error = proxyTimeout(which, limitMs);
    const answer: FailureAnswer =
      this.protocol === "http"
        ? plainAnswer(504, timeoutText, this.head)
        : { fields: grpcFields(error, this.head), body: undefined };
    this.conclude(answer, Code.DeadlineExceeded, error.message);
  }

  // What passes.

  override outgoingHead(): OutgoingHead {
    const known = outgoingRequestHead(this.head, this.channel, this.#address);
    const outgoing = this.#trace === undefined ? known : tracedHead(known, this.#trace);
    if (this.deadlineAt === Number.POSITIVE_INFINITY) return outgoing;
    const leftMs = this.deadlineAt - performance.now();
    // What a call has waited is not there for the server.
    if (this.#admittedAt - this.arrivedAt < 1) return outgoing;
    const fields = outgoing instanceof HeaderTemplate ? outgoing.fields : outgoing;
    return fields.map(
      ([name, value]): OutgoingField =>
        name === "grpc-timeout" ? [name, formatGrpcTimeout(leftMs)] : [name, value],
    );
  }

  override answerTo(error: WireCallError): FailureAnswer {
    if (this.protocol !== "http") return super.answerTo(error);
    const status = error.code === Code.Unimplemented ? 501 : error.kind === "deadline" ? 504 : 502;
    return textAnswer(status, error.message, this.head);
  }

  override onRequestData(bytes: Buffer, endStream: boolean): void {
    super.onRequestData(bytes, endStream);
    if (this.waits) this.#host.queue.addBytes(this, bytes.length);
  }

  override onHead(head: ResponseHead, endStream: boolean): void {
    super.onHead(head, endStream);
    if (this.#host.times.idleMs < Number.POSITIVE_INFINITY) this.#answeredAt = performance.now();
  }

  override onData(bytes: Buffer, endStream: boolean): void {
    super.onData(bytes, endStream);
    if (this.#host.times.idleMs < Number.POSITIVE_INFINITY) this.#answeredAt = performance.now();
  }

  override onOver(end: ForwardEnd): void {
    const now = performance.now();
    const host = this.#host;
    host.statistics.end(now, this.#proxied);
    host.busyPoll?.touch(now);
    const metrics = this.#metrics;
    if (this.waits) host.queue.leave(this);
    metrics.ended(this.status, this.grpcStatus, (now - this.arrivedAt) / 1000);
    metrics.requestBytes.value += this.requestBytes;
    metrics.responseBytes.value += this.responseBytes;
    host.httpMetrics?.ended(
      this.head,
      this.status,
      now - this.arrivedAt,
      this.requestBytes,
      this.responseBytes,
      end === "answered" ? now - this.#admittedAt : -1,
    );
    if (this.#trace !== undefined) {
      const waitedMs = this.#admittedAt === -1 ? -1 : this.#admittedAt - this.arrivedAt;
      host.tracer?.end(this.#trace, this, this.#address, waitedMs, now);
    }
    host.requestLog?.write(this, this.#address, now - this.arrivedAt);
    host.openCalls--;
    host.calls.remove(this);
    if (this.#admittedAt !== -1) {
      const serviceMs = now - this.#admittedAt;
      metrics.upstream.observe(serviceMs / 1000);
      host.queue.release(this, end === "answered" ? serviceMs : undefined);
    }
    if (host.openCalls === 0) host.onIdle();
  }
}

function httpText(reason: ShedReason, error: TensorwireError): string {
  return reason === "queue-full" || reason === "displaced" ? queueFullText : error.message;
}
