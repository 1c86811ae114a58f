import { SignalCallContext } from "../../server/rpc/call-context.ts";

/** The context of a call from this machine. */
export function localCall(signal: AbortSignal = new AbortController().signal): SignalCallContext {
  return new SignalCallContext(signal, { address: "127.0.0.1", local: true }, new Headers());
}
