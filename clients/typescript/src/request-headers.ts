import type { Interceptor } from "@connectrpc/connect";
import type { ClientOptions, Provided } from "./client-options.ts";

/** Adds the headers and the token of a client to each call; headers of the call itself win. */
export function createHeaderInterceptor({ headers, token }: ClientOptions): Interceptor {
  return (next) => async (request) => {
    const provided = new Headers(await provide(headers));
    const bearer = await provide(token);
    if (bearer !== undefined) provided.set("authorization", `Bearer ${bearer}`);
    for (const [name, value] of provided) {
      if (!request.header.has(name)) request.header.set(name, value);
    }
    return next(request);
  };
}

async function provide<T>(provided: Provided<T> | undefined): Promise<T | undefined> {
  return typeof provided === "function" ? await (provided as () => T | Promise<T>)() : provided;
}
