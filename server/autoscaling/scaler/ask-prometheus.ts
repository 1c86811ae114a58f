import { read } from "./gather.ts";

interface QueryAnswer {
  readonly status?: string;
  readonly error?: string;
  readonly data?: {
    readonly resultType?: string;
    readonly result?: unknown;
  };
}

/**
 * Has a Prometheus server evaluate an expression now (https://prometheus.io/docs/prometheus/latest/querying/api).
 *
 * @param server - `http://prometheus:9090`
 * @returns the sum of a vector's elements, or a scalar; 0 for an empty vector
 * @throws Error if it cannot be asked, or the expression gives something else
 */
export async function askPrometheus(server: string, query: string): Promise<number> {
  const url = new URL("api/v1/query", server.endsWith("/") ? server : `${server}/`);
  url.searchParams.set("query", query);
  const bytes = await read(url.href, "application/json");
  const { status, error, data } = JSON.parse(Buffer.from(bytes).toString()) as QueryAnswer;
  if (status !== "success") throw new Error(`Prometheus answers ${error ?? status}`);
  switch (data?.resultType) {
    case "scalar":
      return numberOf((data.result as readonly unknown[])[1]);
    case "vector": {
      const elements = data.result as readonly { readonly value: readonly unknown[] }[];
      return elements.reduce((sum, { value }) => sum + numberOf(value[1]), 0);
    }
    default:
      throw new Error(`the expression gives a ${data?.resultType}, expected a vector or a scalar`);
  }
}

function numberOf(value: unknown): number {
  const number = Number(value);
  // Of nothing by nothing: no load.
  if (Number.isNaN(number)) return 0;
  return number;
}
