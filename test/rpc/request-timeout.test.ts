import test from "ava";
import fc from "fast-check";
import { boundTimeout } from "../../server/rpc/request-timeout.ts";

const header = (name: string, value: string): Headers => new Headers({ [name]: value });

test("gRPC's units are read", (t) => {
  for (const [value, ms] of [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3_000],
    ["4m", 4],
    ["5u", 0.005],
    ["0n", 0],
  ] as const) {
    t.is(boundTimeout(header("grpc-timeout", value), 1e9), ms, value);
  }
  t.is(boundTimeout(header("connect-timeout-ms", "77"), 1e9), 77);
  t.is(boundTimeout(new Headers(), 1e9), undefined);
});

test("malformed values are left for the protocol to refuse", (t) => {
  for (const value of ["", "5", "x", "123456789m", "-1m"]) {
    const headers = header("grpc-timeout", value);
    t.is(boundTimeout(headers, 1000), undefined);
    t.is(headers.get("grpc-timeout"), value);
  }
});

test("no value is longer than the limit, in the header too, nor than a timer takes", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 99_999_999 }),
      fc.constantFrom("H", "M", "S", "m", "u", "n"),
      fc.integer({ min: 1, max: 2 ** 40 }),
      (amount, unit, limit) => {
        const headers = header("grpc-timeout", `${amount}${unit}`);
        const bound = boundTimeout(headers, limit)!;
        t.true(bound <= limit && bound <= 2 ** 31 - 1);
        const again = boundTimeout(headers, limit)!;
        t.true(again <= bound && again > bound - 1000);
      },
    ),
  );
});
