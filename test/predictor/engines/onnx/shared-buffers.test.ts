import test from "ava";
import fc from "fast-check";
import { SharedBuffers } from "../../../../server/predictor/engines/onnx/shared-buffers.ts";

test("buffers are never given twice, are large enough, and stay within the limit", (t) => {
  const limit = 1024 * 1024;
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 600_000 }) }),
    fc.record({ give: fc.nat() }),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const buffers = new SharedBuffers(limit);
        const used: SharedArrayBuffer[] = [];
        return steps.every((now) => {
          if ("give" in now) {
            const [buffer] = used.splice(now.give % Math.max(used.length, 1), 1);
            if (buffer) buffers.give(buffer);
          } else {
            const buffer = buffers.take(now.take);
            if (buffer) {
              if (buffer.byteLength < now.take || used.includes(buffer)) return false;
              used.push(buffer);
            }
          }
          const inUse = used.reduce((sum, { byteLength }) => sum + byteLength, 0);
          return inUse <= buffers.bytes && buffers.bytes <= limit;
        });
      }),
    ),
  );
});

test("a buffer that was given back is used again", (t) => {
  const buffers = new SharedBuffers(1024 * 1024);
  const first = buffers.take(100_000)!;
  t.is(first.byteLength, 131_072);
  buffers.give(first);
  t.is(buffers.take(131_072), first);
});

test("free buffers of other sizes make room", (t) => {
  const buffers = new SharedBuffers(256 * 1024);
  const small = [buffers.take(1), buffers.take(1), buffers.take(1), buffers.take(1)];
  t.is(buffers.take(1), undefined);
  for (const buffer of small) buffers.give(buffer!);
  t.is(buffers.take(256 * 1024)?.byteLength, 256 * 1024);
  t.is(buffers.take(1), undefined);
});
