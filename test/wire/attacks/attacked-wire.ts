import type { ClientHttp2Session } from "node:http2";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { ExecutionContext } from "ava";
import type { WireRefusal } from "../../../server/wire/wire-refusals.ts";
import type {
  WireLimits,
  WireServer,
  WireServerOptions,
} from "../../../server/wire/wire-server.ts";
import { until } from "../../support/until.ts";
import { bodyOf, openHttp2, request2, startWire, text } from "../start-wire.ts";

/** Bytes of the answer to `/large`. */
export const largeBytes = 4 * 1024 * 1024;

/** A server that is attacked, and what happened to it. */
export interface AttackedWire {
  readonly wire: WireServer;
  readonly port: number;
  /** Requests that the handler began, by path. */
  readonly begun: ReadonlyMap<string, number>;
  /** Requests of `/hang` that are in the handler now. */
  hanging(): number;
  /** What the server reported. */
  readonly errors: readonly { readonly where: string; readonly error: Error }[];
}

/** What an attack is expected to be counted as. */
export interface Expected {
  /** Reasons that must be counted at least once; no other may be. */
  readonly refusals: readonly WireRefusal[];
  /** Reasons that may be counted as well, or one of which must be if there are no others. */
  readonly also?: readonly WireRefusal[];
  readonly limits?: Partial<WireLimits>;
  /** Authority of the server's certificate; with it the witness speaks TLS. */
  readonly ca?: Buffer;
  readonly options?: Partial<Omit<WireServerOptions, "limits" | "handler">>;
}

/**
 * Attacks a server while a client that behaves calls it over a connection of its own, before, during
 * and after; all of its calls must succeed, no stream may be left, and the refusals must be counted.
 *
 * @param attack - resolves when the attack has ended, its connections closed or not
 */
export async function attackWire(
  t: ExecutionContext<unknown>,
  { refusals, also = [], limits, options, ca }: Expected,
  attack: (attacked: AttackedWire) => Promise<void>,
): Promise<void> {
  const begun = new Map<string, number>();
  let hanging = 0;
  const handler = async (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const { pathname } = new URL(request.url);
    begun.set(pathname, (begun.get(pathname) ?? 0) + 1);
    switch (pathname) {
      case "/hang":
        hanging++;
        await aborted(request.signal);
        hanging--;
        return { status: 200 };
      case "/large":
        return { status: 200, body: oneChunk(Buffer.alloc(largeBytes)) };
      case "/echo":
        return { status: 200, body: oneChunk(await bodyOf(request)) };
      default:
        return { status: 200, body: text("ok") };
    }
  };
  const { wire, port, errors } = await startWire(t, handler, {
    ...options,
    ...(limits ? { limits } : {}),
  });
  const witness = openHttp2(t, port, ca ? { ca } : {});
  await callWell(t, witness, "before the attack");
  let over = false;
  const during = (async () => {
    let calls = 0;
    do {
      await callWell(t, witness, "during the attack");
      calls++;
      await new Promise((resolve) => setImmediate(resolve));
    } while (!over);
    return calls;
  })();
  try {
    await attack({ wire, port, begun, hanging: () => hanging, errors });
  } finally {
    over = true;
    await during;
  }
  await callWell(t, witness, "after the attack");
  t.false(witness.closed || witness.destroyed, "the witness keeps its connection");
  await until(
    () => wire.stats.openStreams === 0 && hanging === 0,
    () => `${wire.stats.openStreams} streams are open, ${hanging} handlers hang`,
  );
  const later = openHttp2(t, port, ca ? { ca } : {});
  await callWell(t, later, "on a new connection");
  later.close();
  const counted = Object.entries(wire.stats.refusals).filter(([, count]) => count > 0);
  const names = counted.map(([name]) => name);
  for (const refusal of refusals) t.true(names.includes(refusal), `${refusal} is not counted`);
  if (refusals.length === 0) t.is(names.length > 0, also.length > 0, "one of them is counted");
  t.deepEqual(
    names.filter((name) => ![...refusals, ...also].includes(name as WireRefusal)),
    [],
    "nothing else is counted",
  );
  t.deepEqual(
    errors.filter(({ error }) => /a fault of ours/.test(error.message)),
    [],
  );
}

/** One call that must succeed. */
export async function callWell(
  t: ExecutionContext<unknown>,
  session: ClientHttp2Session,
  when: string,
): Promise<void> {
  const sent = Buffer.from(`hello ${when}`);
  const answer = await request2(session, { ":method": "POST", ":path": "/echo" }, sent);
  if (answer.status !== 200 || !answer.body.equals(sent) || answer.rstCode !== 0) {
    t.fail(
      `a call ${when}: status ${answer.status}, ${answer.body.byteLength} bytes, reset ${answer.rstCode}`,
    );
  }
}

/** Waits until everything that an attacker opened is gone, without its doing. */
export async function connectionsAre(wire: WireServer, count: number): Promise<void> {
  await until(
    () => wire.stats.openConnections === count,
    () => `${wire.stats.openConnections} connections are open, expected ${count}`,
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function* oneChunk(chunk: Uint8Array): AsyncIterable<Uint8Array> {
  yield chunk;
}
