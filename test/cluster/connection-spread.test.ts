import type { Socket } from "node:net";
import test from "ava";
import fc from "fast-check";
import { ConnectionSpread, type ConnectionTaker } from "../../server/cluster/connection-spread.ts";
import { anySocket } from "./fake-workers.ts";

class Taker implements ConnectionTaker {
  open = 0;
  readonly taken: Socket[] = [];

  take(socket: Socket): void {
    this.taken.push(socket);
  }
}

test("however connections come and go, no taker that could have fewer has two more than another", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.array(fc.nat(20)), (count, events) => {
      const spread = new ConnectionSpread();
      const takers = Array.from({ length: count }, () => new Taker());
      for (const taker of takers) spread.add(taker);
      for (const event of events) {
        const leaving = takers[event];
        if (leaving && leaving.open > 0) {
          leaving.open--;
          continue;
        }
        const least = Math.min(...takers.map(({ open }) => open));
        const before = takers.map(({ open }) => open);
        spread.give(anySocket(), "tcp");
        const chosen = takers.findIndex(({ open }, index) => open !== before[index]);
        if (before[chosen] !== least) return false;
      }
      return true;
    }),
  );
  t.pass();
});

test("connections that close at once go to all takers in turn", (t) => {
  const spread = new ConnectionSpread();
  const takers = [new Taker(), new Taker(), new Taker()];
  for (const taker of takers) spread.add(taker);
  for (let count = 0; count < 9; count++) {
    spread.give(anySocket(), "tcp");
    for (const taker of takers) taker.open = 0;
  }
  t.deepEqual(
    takers.map(({ taken }) => taken.length),
    [3, 3, 3],
  );
});

test("without a taker connections wait, 1024 at most, and go to the first that comes", (t) => {
  const spread = new ConnectionSpread();
  const sockets = Array.from({ length: 1025 }, anySocket);
  for (const socket of sockets) spread.give(socket, "unix");
  t.is(spread.waiting, 1024);
  t.is(spread.refused, 1);
  t.true(sockets.at(-1)!.destroyed);
  const taker = new Taker();
  spread.add(taker);
  t.deepEqual(taker.taken, sockets.slice(0, -1));
  t.is(spread.waiting, 0);
});
