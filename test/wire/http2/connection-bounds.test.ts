import test from "ava";
import fc from "fast-check";
import { BandwidthProbe } from "../../../server/wire/http2/bandwidth-probe.ts";
import { PeerSettings, writeSettings } from "../../../server/wire/http2/connection-settings.ts";
import { FloodGuard } from "../../../server/wire/http2/flood-guard.ts";
import { HeaderBlock } from "../../../server/wire/http2/header-block.ts";
import { ConnectionError } from "../../../server/wire/http2/http2-error.ts";
import { rawHeadBytes, settingsFrame } from "../../support/raw-http2-frames.ts";

test("settings are what was written, unknown ones are ignored (RFC 9113, section 6.5.2)", (t) => {
  const given = [
    [1, 100],
    [2, 0],
    [3, 7],
    [4, 0x7fff_ffff],
    [5, 16_777_215],
    [6, 5000],
    [99, 1],
  ] as const;
  const payload = writeSettings(given);
  t.deepEqual(payload, settingsFrame(...given).subarray(rawHeadBytes));
  const settings = new PeerSettings();
  settings.read(Buffer.concat([Buffer.alloc(2), payload]), 2, 2 + payload.length);
  t.like(settings, {
    headerTableSize: 100,
    enablePush: false,
    maxConcurrentStreams: 7,
    initialWindowSize: 0x7fff_ffff,
    maxFrameSize: 16_777_215,
    maxHeaderListSize: 5000,
  });
});

for (const [id, value, code] of [
  [2, 2, 1],
  [4, 0x8000_0000, 3],
  [5, 16_383, 1],
  [5, 16_777_216, 1],
] as const) {
  test(`setting ${id} of ${value} is a connection error of code ${code}`, (t) => {
    const payload = writeSettings([[id, value]]);
    const error = t.throws(() => new PeerSettings().read(payload, 0, 6), {
      instanceOf: ConnectionError,
    });
    t.is(error?.code, code);
    t.regex(error!.message, new RegExp(`is ${value}`));
  });
}

test("a header block is what its fragments were, whatever becomes of their buffer", (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }), (fragments) => {
      const block = new HeaderBlock(1, false, false, 10_000);
      for (const fragment of fragments) {
        const buffer = Buffer.concat([Buffer.of(1), fragment, Buffer.of(2)]);
        block.add(buffer, 1, buffer.length - 1);
        buffer.fill(0);
      }
      t.deepEqual(block.whole(), Buffer.concat(fragments));
    }),
  );
});

test("a header block that does not end is a flood, by bytes and by frames (CVE-2024-27316)", (t) => {
  const byBytes = new HeaderBlock(1, false, false, 100);
  byBytes.add(Buffer.alloc(100), 0, 100);
  t.throws(() => byBytes.add(Buffer.alloc(1), 0, 1), {
    instanceOf: ConnectionError,
    message: /more than 100 bytes/,
  });
  const byFrames = new HeaderBlock(1, false, false, 1_000_000);
  const adding = (): void => {
    for (let frame = 0; frame < 1000; frame++) byFrames.add(Buffer.alloc(0), 0, 0);
  };
  const error = t.throws(adding, { instanceOf: ConnectionError });
  t.is(error?.code, 11);
});

test("frames that carry nothing are allowed in a burst, and then are a flood", (t) => {
  const most = (act: (guard: FloodGuard) => void): number => {
    const guard = new FloodGuard(100);
    for (let count = 0; ; count++) {
      try {
        act(guard);
      } catch (error) {
        t.true(error instanceof ConnectionError && error.code === 11);
        return count;
      }
    }
  };
  const near = (count: number, expected: number): void => {
    t.true(count >= expected && count < expected * 1.5, `${count}, expected ${expected}`);
  };
  near(
    most((guard) => guard.onControlFrame()),
    2000,
  );
  near(
    most((guard) => guard.onReset()),
    500,
  );
  near(
    most((guard) => guard.onEmptyFrame()),
    100,
  );
});

test("control frames that go with work are no flood", (t) => {
  const guard = new FloodGuard(100);
  for (let count = 0; count < 100_000; count++) {
    guard.worked();
    for (let each = 0; each < 4; each++) guard.onControlFrame();
  }
  t.pass();
});

/** A peer of whose bytes so many come in a round trip, if the window lets them. */
function settle(initial: number, most: number, perRoundTrip: number): number {
  const probe = new BandwidthProbe(initial, most);
  for (let roundTrip = 0; roundTrip < 60; roundTrip++) {
    const { window } = probe;
    const comes = Math.min(window, perRoundTrip);
    // What was in flight before has left so much of the window; then a PING goes out.
    if (!probe.onData(1, window - comes)) continue;
    for (let sent = 0; sent < comes; sent += 1000) probe.onData(1000, window - comes);
    probe.onAnswer();
  }
  return probe.window;
}

test("the window grows to the bandwidth-delay product, and not beyond what is needed", (t) => {
  for (const product of [100_000, 1_000_000, 10_000_000]) {
    const window = settle(65_535, 100_000_000, product);
    t.true(window >= product && window <= product * 4, `${window} for ${product}`);
  }
  t.is(settle(65_535, 100_000_000, 10_000), 65_535);
  t.is(settle(65_535, 1_000_000, 100_000_000), 1_000_000);
});
