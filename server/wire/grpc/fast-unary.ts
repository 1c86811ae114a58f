import type { Principal } from "../../access/principal.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { Peer } from "../peer.ts";

/** What the handler of a fast method knows of its call. */
export interface FastCall {
  readonly peer: Peer;
  /** Who calls, if {@link FastUnaryMethods.admit} has found that out. */
  principal: Principal | undefined;
  /** Fields of the request's head, as they came. */
  readonly fields: readonly HeaderField[];
  /** The same as Headers; made when it is first asked for. */
  readonly requestHeader: Headers;
  /** Why nobody waits for the answer any more; `undefined` while somebody does. */
  readonly aborted: "deadline" | "cancelled" | undefined;
  /**
   * Calls back once, when {@link aborted} is set; at once if it is. There is one listener at a time:
   * another one takes its place, `undefined` removes it.
   */
  onAbort(listener: (() => void) | undefined): void;
  /** Aborts when {@link aborted} is set; made when it is first asked for. */
  readonly signal: AbortSignal;
  /** Adds a field to the head of the answer. Lower-case name. */
  setHeader(name: string, value: string): void;
  /** Adds a field to the trailers of the answer. Lower-case name. */
  setTrailer(name: string, value: string): void;
}

/** A message, in pieces that follow each other; they must stay as they are until they are sent. */
export type MessageParts = Uint8Array | readonly Uint8Array[];

/**
 * Answers a unary call. The request's bytes are lent until the call is over: the answer may be made of
 * them, and what is to be kept longer is copied.
 *
 * @throws whatever is to be answered as an error, also by rejection
 */
export type FastUnaryHandler = (
  message: Buffer,
  call: FastCall,
) => MessageParts | Promise<MessageParts>;

/** Unary gRPC methods that are answered from message bytes to message bytes. */
export interface FastUnaryMethods {
  /** By path: `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, FastUnaryHandler>;
  /** Largest request message, in bytes. */
  readonly maxMessageBytes: number;
  /** Longest deadline that a caller gets, in ms: a longer one is cut to it. */
  readonly maxTimeoutMs: number;
  /**
   * Looks at the head of a call before its message is taken. What it throws, or rejects with, is
   * answered as an error; a handler runs when it is through.
   */
  readonly admit?: ((call: FastCall, path: string) => Promise<void> | undefined) | undefined;
  /** Status of what a handler, or the wire itself, has thrown: `grpc-status` and what goes with it. */
  readonly toStatus: (thrown: unknown, path: string) => readonly OutgoingField[];
}
