import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { mkdir, readFile, readlink, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { RegionTable } from "../../../server/predictor/shared-memory/region-table.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const limits = { regions: 3, bytes: 100 };

async function start(t: ExecutionContext, files: Readonly<Record<string, Uint8Array>> = {}) {
  const folder = await temporaryFolder(t, files);
  const table = new RegionTable(limits, folder);
  t.teardown(() => table.unregisterAll());
  const register = (
    name: string,
    key: string,
    offset: number | bigint,
    byteSize: number | bigint,
  ) => table.register({ name, key, offset: BigInt(offset), byteSize: BigInt(byteSize) });
  return { folder, table, register };
}

function reasonOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (error) {
    if (error instanceof TensorwireError) return error.reason;
    throw error;
  }
}

/** Open descriptors of this process on files of a folder. */
async function openFiles(folder: string): Promise<number> {
  const links = await Promise.all(
    readdirSync("/proc/self/fd").map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return links.filter((link) => link.startsWith(folder)).length;
}

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index);

test("a region is a part of an object, from its offset on", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(20) });
  register("r", "/object", 4, 8);
  const region = table.find("r");
  t.deepEqual([...region.read(1, 3)], [5, 6, 7]);
  region.write(6, Uint8Array.of(90, 91));
  const contents = await readFile(join(folder, "object"));
  t.is(contents.byteLength, 20);
  t.deepEqual([...contents.subarray(9, 13)], [9, 90, 91, 12]);
  t.deepEqual(table.places(), [{ name: "r", key: "/object", offset: 4, byteSize: 8 }]);
  t.is(table.bytes, 8);
});

test("what is no object, or not within one, is refused and leaves nothing open", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(20) });
  await symlink(join(folder, "object"), join(folder, "link"));
  await mkdir(join(folder, "folder"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  const refusals: readonly (readonly [string, number | bigint, number | bigint, string])[] = [
    ["absent", 0, 1, "SHARED_MEMORY_UNAVAILABLE"],
    ["link", 0, 1, "SHARED_MEMORY_UNAVAILABLE"],
    ["folder", 0, 1, "SHARED_MEMORY_UNAVAILABLE"],
    ["pipe", 0, 1, "SHARED_MEMORY_UNAVAILABLE"],
    ["../object", 0, 1, "SHARED_MEMORY_NAME_INVALID"],
    ["object", 0, 0, "SHARED_MEMORY_RANGE_INVALID"],
    ["object", 0, 21, "SHARED_MEMORY_RANGE_INVALID"],
    ["object", 20, 1, "SHARED_MEMORY_RANGE_INVALID"],
    ["object", 2n ** 64n - 1n, 1, "SHARED_MEMORY_RANGE_INVALID"],
    ["object", 1, 2n ** 64n - 1n, "SHARED_MEMORY_RANGE_INVALID"],
    ["object", 0, 101, "SHARED_MEMORY_LIMIT"],
  ];
  for (const [key, offset, byteSize, reason] of refusals) {
    t.is(
      reasonOf(() => register("r", key, offset, byteSize)),
      reason,
      `${key} ${offset} ${byteSize}`,
    );
  }
  t.throws(() => register("r", "link", 0, 1), { message: /symbolic link, which is not followed/ });
  t.is(table.count, 0);
  t.is(table.bytes, 0);
  t.is(await openFiles(folder), 0);
});

test("no more regions than the limit, and no two of one name", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(90) });
  register("a", "object", 0, 40);
  t.is(
    reasonOf(() => register("a", "object", 0, 1)),
    "SHARED_MEMORY_REGION_EXISTS",
  );
  t.is(
    reasonOf(() => register("b", "object", 0, 61)),
    "SHARED_MEMORY_LIMIT",
  );
  register("b", "object", 0, 60);
  table.unregister("b");
  register("b", "object", 0, 10);
  register("c", "object", 0, 10);
  t.is(
    reasonOf(() => register("d", "object", 0, 1)),
    "SHARED_MEMORY_LIMIT",
  );
  t.is(await openFiles(folder), 3);
  table.unregisterAll();
  table.unregister("a");
  t.is(table.count, 0);
  t.is(table.bytes, 0);
  t.is(await openFiles(folder), 0);
  t.is(
    reasonOf(() => table.find("a")),
    "SHARED_MEMORY_REGION_UNKNOWN",
  );
});

test("a region that a call holds stays open when it is unregistered, until the call is over", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(4) });
  register("r", "object", 0, 4);
  const region = table.find("r");
  region.hold();
  table.unregister("r");
  region.write(0, Uint8Array.of(9));
  t.is((await readFile(join(folder, "object")))[0], 9);
  t.is(await openFiles(folder), 1);
  region.release();
  t.is(await openFiles(folder), 0);
});

test("an object that has become shorter is an error, not zeros", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(10) });
  register("r", "object", 2, 8);
  await truncate(join(folder, "object"), 6);
  const region = table.find("r");
  t.deepEqual([...region.read(0, 4)], [2, 3, 4, 5]);
  t.throws(() => region.read(2, 4), {
    message: /has become shorter than the 8 bytes that are asked of it/,
  });
});

test("bytes that calls have copied are bounded", async (t) => {
  const { table } = await start(t);
  table.takeCopy(60);
  t.is(
    reasonOf(() => table.takeCopy(41)),
    "SHARED_MEMORY_LIMIT",
  );
  table.takeCopy(40);
  t.is(table.copiedBytes, 100);
  table.giveCopy(60);
  t.is(table.copiedBytes, 40);
});

const step = fc.record({
  kind: fc.constantFrom("register", "register", "unregister", "unregister all"),
  name: fc.constantFrom("a", "b", "c", "d"),
  offset: fc.nat({ max: 40 }),
  byteSize: fc.nat({ max: 60 }),
});

test("any order of calls leaves the regions that a plain list has", async (t) => {
  const { folder } = await start(t, { object: bytes(64) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const table = new RegionTable(limits, folder);
      let plain: { name: string; byteSize: number }[] = [];
      for (const { kind, name, offset, byteSize } of steps) {
        if (kind === "unregister all") {
          table.unregisterAll();
          plain = [];
        } else if (kind === "unregister") {
          table.unregister(name);
          plain = plain.filter((each) => each.name !== name);
        } else {
          const sum = plain.reduce((total, each) => total + each.byteSize, 0);
          const fits =
            !plain.some((each) => each.name === name) &&
            plain.length < limits.regions &&
            byteSize > 0 &&
            offset + byteSize <= 64 &&
            sum + byteSize <= limits.bytes;
          const request = {
            name,
            key: "object",
            offset: BigInt(offset),
            byteSize: BigInt(byteSize),
          };
          if ((reasonOf(() => table.register(request)) === "none") !== fits) return false;
          if (fits) plain.push({ name, byteSize });
        }
        const same =
          table.bytes === plain.reduce((total, each) => total + each.byteSize, 0) &&
          table.places().every((place, index) => place.name === plain[index]?.name) &&
          table.count === plain.length;
        if (!same) return false;
      }
      table.unregisterAll();
      return true;
    }),
  );
  t.is(await openFiles(folder), 0);
});

test("bytes come back as they were written, wherever", async (t) => {
  const { table, register } = await start(t, { object: bytes(100) });
  register("r", "object", 7, 90);
  const region = table.find("r");
  const expected = Uint8Array.from(bytes(100).subarray(7, 97));
  fc.assert(
    fc.property(fc.nat({ max: 89 }), fc.uint8Array({ maxLength: 90 }), (offset, given) => {
      const written = given.subarray(0, 90 - offset);
      region.write(offset, written);
      expected.set(written, offset);
      return Buffer.compare(region.read(0, 90), expected) === 0;
    }),
  );
  t.pass();
});

test("a region of memory that somebody else writes has what was written last", async (t) => {
  const { folder, table, register } = await start(t, { object: bytes(4) });
  register("r", "object", 0, 4);
  await writeFile(join(folder, "object"), Uint8Array.of(4, 3, 2, 1));
  t.deepEqual([...table.find("r").read(0, 4)], [4, 3, 2, 1]);
});
