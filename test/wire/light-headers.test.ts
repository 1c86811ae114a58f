import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import test from "ava";
import fc from "fast-check";
import { LightHeaders } from "../../server/wire/light-headers.ts";

const names = fc.oneof(
  fc.constantFrom("a", "A", "content-type", "Content-Type", "set-cookie", "Set-Cookie", "cookie"),
  fc.constantFrom("x-trace-bin", "", "a b", "ü", "a:", "constructor", "__proto__"),
  fc.string({ maxLength: 4 }),
);
const values = fc.oneof(
  fc.constantFrom("1", "", " padded\t", "a, b", "\r\nx: y", "a\nb", "\0", "é", "€", "\t\r\n"),
  fc.string({ maxLength: 6, unit: "binary" }),
);

const operations = fc.oneof(
  fc.record({ kind: fc.constantFrom("append", "set"), name: names, value: values }),
  fc.record({ kind: fc.constantFrom("delete", "get", "has"), name: names }),
);

/** What an operation answers, or that it throws a TypeError. */
function outcome(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return error instanceof TypeError ? "TypeError" : error;
  }
}

function apply(headers: Headers, operation: object): unknown {
  const { kind, name, value } = operation as { kind: "append"; name: string; value?: string };
  return outcome(() => headers[kind](name, value!));
}

function contents(headers: Headers): unknown {
  const seen: unknown[] = [];
  headers.forEach((value, key, parent) => {
    seen.push([key, value, parent === headers]);
  });
  return {
    seen,
    entries: [...headers],
    keys: [...headers.keys()],
    values: [...headers.values()],
    cookies: headers.getSetCookie(),
    text: Object.prototype.toString.call(headers),
  };
}

test("every call answers as Node's own Headers do, and leaves the same behind", (t) => {
  fc.assert(
    fc.property(fc.array(operations, { maxLength: 12 }), (calls) => {
      const ours = new LightHeaders();
      const native = new Headers();
      for (const call of calls) t.deepEqual(apply(ours, call), apply(native, call));
      t.deepEqual(contents(ours), contents(native));
      t.deepEqual(contents(new LightHeaders(ours)), contents(new Headers(native)));
      t.deepEqual(contents(new LightHeaders(native)), contents(new Headers(ours)));
    }),
    { numRuns: 1000 },
  );
});

test("they are made from the same as Node's own", (t) => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(fc.tuple(names, values), { maxLength: 4 }),
        // Node's own loses a key "__proto__" of an object on the way.
        fc.dictionary(
          names.filter((name) => name !== "__proto__"),
          values,
          { maxKeys: 4, noNullPrototype: true },
        ),
        fc.constantFrom(
          undefined,
          null,
          1,
          "text",
          [["a"]],
          [["a", "b", "c"]],
          new Map([["a", "1"]]),
        ),
      ),
      (init) => {
        const made = (make: new (init?: HeadersInit) => Headers): unknown =>
          outcome(() => contents(new make(init as HeadersInit)));
        t.deepEqual(made(LightHeaders), made(Headers));
      },
    ),
    { numRuns: 500 },
  );
});

test("Node's fetch sends them", async (t) => {
  const requests: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    requests.push(request.headers);
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.teardown(() => server.close());
  const headers = new LightHeaders({ "x-one": "1" });
  headers.append("x-one", "2");
  const { port } = server.address() as AddressInfo;
  await (await fetch(`http://127.0.0.1:${port}`, { headers })).text();
  t.is(requests[0]?.["x-one"], "1, 2");
});
