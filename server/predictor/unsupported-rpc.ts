import { TensorwireError } from "../errors/tensorwire-error.ts";

/** Answers an RPC that this server does not have, with why. */
export function unsupportedRpc(rpc: string, why: string): () => Promise<never> {
  return () =>
    Promise.reject(new TensorwireError("RPC_UNSUPPORTED", `${rpc} is not served: ${why}`, { rpc }));
}
