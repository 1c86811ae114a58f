import { type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type StreamRequest,
  type Transport,
  type UnaryRequest,
} from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import { createClientOver, type TensorwireClient } from "../../clients/typescript/src/client.ts";
import type { HeadersInput } from "../../clients/typescript/src/client-options.ts";
import { fromPortable } from "../errors/portable-error.ts";
import { toConnectError } from "../errors/to-connect-error.ts";
import type { FromThread, ToThread } from "./thread-messages.ts";

type Post = (message: FromThread) => void;

/** Told of what the server says of one call. */
interface Listener {
  answer(message: Uint8Array): void;
  end(): void;
  fail(error: unknown): void;
  next(): void;
}

/** What the server says of the calls that a model makes. */
export type CallMessage = Extract<
  ToThread,
  { readonly kind: "next" | "answer" | "answered" | "refused" }
>;

/**
 * Calls that a model makes of its server. They go as messages of the thread past every socket, through
 * the interface of the client.
 */
export class ServerCalls {
  readonly #post: Post;
  readonly #calls = new Map<number, Listener>();
  #nextId = 1;

  constructor(post: Post) {
    this.#post = post;
  }

  /** Takes a message of the server. */
  take(message: CallMessage): void {
    const call = this.#calls.get(message.id);
    switch (message.kind) {
      case "next":
        call?.next();
        break;
      case "answer":
        call?.answer(message.message);
        break;
      case "answered":
        this.#calls.delete(message.id);
        call?.end();
        break;
      case "refused":
        this.#calls.delete(message.id);
        call?.fail(toConnectError(fromPortable(message.error)));
    }
  }

  /** A client whose calls end when the signal aborts. */
  client(signal?: AbortSignal): TensorwireClient {
    const transport = this.#transport(signal);
    const connection = {
      transport,
      target: "this server",
      streams: "both-ways",
      close() {},
    } as const;
    // The server is there as long as the thread is: what it refuses is for the caller to see.
    return createClientOver(connection, { retry: { attempts: 1 } });
  }

  #transport(within: AbortSignal | undefined): Transport {
    const joined = (own: AbortSignal | undefined): AbortSignal | undefined =>
      own && within ? AbortSignal.any([own, within]) : (own ?? within);
    return {
      unary: (method, signal, timeoutMs, header, input, contextValues) =>
        runUnaryCall({
          signal: joined(signal),
          timeoutMs,
          req: {
            ...begun(header, contextValues),
            stream: false,
            service: method.parent,
            method,
            message: input,
          },
          next: async (call) => ({
            ...answered(),
            stream: false,
            service: method.parent,
            method,
            message: fromBinary(method.output, await this.#unary(call)),
          }),
        }),
      stream: (method, signal, timeoutMs, header, input, contextValues) =>
        runStreamingCall({
          signal: joined(signal),
          timeoutMs,
          req: {
            ...begun(header, contextValues),
            stream: true,
            service: method.parent,
            method,
            message: input,
          },
          next: async (call) => ({
            ...answered(),
            stream: true,
            service: method.parent,
            method,
            message: this.#stream(call, (bytes) => fromBinary(method.output, bytes)),
          }),
        }),
    };
  }

  #unary<I extends DescMessage, O extends DescMessage>(
    call: UnaryRequest<I, O>,
  ): Promise<Uint8Array> {
    const { method, message, signal } = call;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      let answer: Uint8Array | undefined;
      this.#begin(id, signal, reject, {
        answer: (bytes) => {
          answer = bytes;
        },
        end: () => (answer ? resolve(answer) : reject(new Error("the server gave no answer"))),
        fail: reject,
        next() {},
      });
      this.#post({
        kind: "call",
        id,
        method: method.localName,
        message: toBinary(method.input, message),
      });
    });
  }

  async *#stream<I extends DescMessage, O extends DescMessage, T>(
    call: StreamRequest<I, O>,
    decode: (bytes: Uint8Array) => T,
  ): AsyncGenerator<T> {
    const { method, message: requests, signal } = call;
    const id = this.#nextId++;
    const source = requests[Symbol.asyncIterator]();
    const answers: Uint8Array[] = [];
    let ended = false;
    let failure: { readonly error: unknown } | undefined;
    let wake = (): void => {};
    const fail = (error: unknown): void => {
      failure ??= { error };
      wake();
    };
    const send = async (): Promise<void> => {
      const { done, value } = await source.next();
      if (!this.#calls.has(id)) return;
      if (done) this.#post({ kind: "sent", id });
      else this.#post({ kind: "send", id, message: toBinary(method.input, value) });
    };
    const cancel = this.#begin(id, signal, fail, {
      answer: (bytes) => {
        answers.push(bytes);
        wake();
      },
      end: () => {
        ended = true;
        wake();
      },
      fail,
      next: () => void send().catch(fail),
    });
    this.#post({ kind: "call", id, method: method.localName, message: undefined });
    try {
      for (;;) {
        const next = answers.shift();
        if (next) {
          if (!ended) this.#post({ kind: "more", id });
          yield decode(next);
        } else if (failure) throw failure.error;
        else if (ended) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      cancel();
      void source.return?.().catch(() => {});
    }
  }

  /** @returns what cancels it; nothing happens if it has ended */
  #begin(
    id: number,
    signal: AbortSignal,
    onAbort: (reason: unknown) => void,
    listener: Listener,
  ): () => void {
    const cancel = (): void => {
      signal.removeEventListener("abort", aborted);
      if (this.#calls.delete(id)) this.#post({ kind: "cancel", id });
    };
    const aborted = (): void => {
      cancel();
      onAbort(signal.reason);
    };
    const over = (): void => signal.removeEventListener("abort", aborted);
    signal.throwIfAborted();
    signal.addEventListener("abort", aborted);
    this.#calls.set(id, {
      ...listener,
      end() {
        over();
        listener.end();
      },
      fail(error) {
        over();
        listener.fail(error);
      },
    });
    return cancel;
  }
}

function begun(header: HeadersInput, contextValues: ContextValues | undefined) {
  return {
    requestMethod: "POST",
    url: "thread:",
    header: new Headers(header),
    contextValues: contextValues ?? createContextValues(),
  };
}

function answered(): { readonly header: Headers; readonly trailer: Headers } {
  return { header: new Headers(), trailer: new Headers() };
}
