import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  GRPCInferenceService,
  type ModelInferRequest,
  ModelInferRequestSchema,
  ModelStreamInferResponseSchema,
} from "../../../../gen/inference/grpc_service_pb.ts";
import { toPortable } from "../../../errors/portable-error.ts";
import { answersAtOnce, type FromThread, type ToThread } from "../../../model/thread-messages.ts";
import { SignalCallContext } from "../../../rpc/call-context.ts";
import { inferResponseMessage } from "../../../rpc/infer-messages.ts";
import type { InferenceBackend } from "../../../rpc/inference-backend.ts";

/** What the thread of a model says of the calls that it makes. */
export type NestedMessage = Extract<
  FromThread,
  { readonly kind: "call" | "send" | "sent" | "more" | "cancel" }
>;

type UnaryMethods = Exclude<keyof InferenceBackend, "modelStreamInfer">;

interface Nested {
  readonly abort: AbortController;
  /** Requests that came and were not read, with the end as `undefined`. */
  readonly requests: (ModelInferRequest | undefined)[];
  /** Answers that may be sent before others were taken. */
  room: number;
  wake: () => void;
}

/** Calls that a model under way makes of its server, answered by the server's own backend. */
export class NestedCalls {
  readonly #backend: () => InferenceBackend;
  readonly #post: (message: ToThread) => void;
  readonly #calls = new Map<number, Nested>();

  constructor(backend: () => InferenceBackend, post: (message: ToThread) => void) {
    this.#backend = backend;
    this.#post = post;
  }

  /** Takes what the thread says. */
  take(message: NestedMessage): void {
    const call = this.#calls.get(message.id);
    switch (message.kind) {
      case "call":
        void this.#answer(message.id, message.method, message.message);
        break;
      case "send":
        call?.requests.push(fromBinary(ModelInferRequestSchema, message.message));
        call?.wake();
        break;
      case "sent":
        call?.requests.push(undefined);
        call?.wake();
        break;
      case "more":
        if (call) call.room++;
        call?.wake();
        break;
      case "cancel":
        call?.abort.abort();
        call?.wake();
    }
  }

  /** Cancels all: the thread is gone. */
  close(): void {
    for (const { abort, wake } of this.#calls.values()) {
      abort.abort();
      wake();
    }
  }

  async #answer(id: number, method: string, message: Uint8Array | undefined): Promise<void> {
    const call: Nested = {
      abort: new AbortController(),
      requests: [],
      room: answersAtOnce,
      wake() {},
    };
    this.#calls.set(id, call);
    const { signal } = call.abort;
    // It comes from this process, whoever called the model that makes it.
    const context = new SignalCallContext(signal, { address: "model", local: true }, new Headers());
    try {
      if (method === "modelStreamInfer") await this.#stream(id, call, context);
      else {
        const answer = await this.#unary(method as UnaryMethods, message!, context);
        if (!signal.aborted) this.#post({ kind: "answer", id, message: answer });
      }
      if (!signal.aborted) this.#post({ kind: "answered", id });
    } catch (thrown) {
      if (!signal.aborted) this.#post({ kind: "refused", id, error: toPortable(thrown) });
    } finally {
      this.#calls.delete(id);
    }
  }

  async #unary(
    name: UnaryMethods,
    bytes: Uint8Array,
    context: SignalCallContext,
  ): Promise<Uint8Array> {
    const backend = this.#backend();
    const { input, output } = GRPCInferenceService.method[name];
    const request = fromBinary(input as DescMessage, bytes);
    const answer =
      name === "modelInfer"
        ? inferResponseMessage(await backend.modelInfer(request as ModelInferRequest, context))
        : // The key of the method decides both types; the compiler cannot follow it.
          await backend[name](request as never, context);
    return toBinary(
      output as DescMessage,
      create(output as DescMessage, answer as MessageInitShape<DescMessage>),
    );
  }

  async #stream(id: number, call: Nested, context: SignalCallContext): Promise<void> {
    const requests = this.#requests(id, call);
    for await (const answer of this.#backend().modelStreamInfer(requests, context)) {
      while (call.room === 0 && !call.abort.signal.aborted) await this.#change(call);
      if (call.abort.signal.aborted) return;
      call.room--;
      const { errorMessage = "", inferResponse } = answer;
      const message = create(ModelStreamInferResponseSchema, {
        errorMessage,
        ...(inferResponse && { inferResponse: inferResponseMessage(inferResponse) }),
      });
      this.#post({
        kind: "answer",
        id,
        message: toBinary(ModelStreamInferResponseSchema, message),
      });
    }
  }

  async *#requests(id: number, call: Nested): AsyncGenerator<ModelInferRequest> {
    for (;;) {
      this.#post({ kind: "next", id });
      while (call.requests.length === 0) {
        if (call.abort.signal.aborted) return;
        await this.#change(call);
      }
      const request = call.requests.shift();
      if (!request) return;
      yield request;
    }
  }

  /** Resolves when something of the call changed. Requests and answers may both wait for it. */
  #change(call: Nested): Promise<void> {
    return new Promise((resolve) => {
      const others = call.wake;
      call.wake = () => {
        call.wake = () => {};
        others();
        resolve();
      };
    });
  }
}
