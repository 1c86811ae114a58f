import { sharedMemoryNameInvalid } from "../../errors/shared-memory-errors.ts";

/** The most bytes that a name has in a file system of Linux. */
const mostNameBytes = 255;

/**
 * Checks the name of a region, which is a name and no path.
 *
 * @throws TensorwireError `SHARED_MEMORY_NAME_INVALID`
 */
export function checkRegionName(name: string): void {
  if (name === "" || !fits(name)) {
    throw sharedMemoryNameInvalid(
      "region",
      name,
      `a name of 1 to ${mostNameBytes} bytes without control characters`,
    );
  }
}

/**
 * Name of the file of a shared memory object by its key, as shm_open(3) has it: a name with a slash before it,
 * or without.
 *
 * @throws TensorwireError `SHARED_MEMORY_NAME_INVALID` for what could be another path
 */
export function objectName(key: string): string {
  const name = key.startsWith("/") ? key.slice(1) : key;
  if (name === "" || name === "." || name === ".." || name.includes("/") || !fits(name)) {
    throw sharedMemoryNameInvalid(
      "key",
      key,
      `the name of an object under /dev/shm, such as "/input": 1 to ${mostNameBytes} bytes, no slash but the first, no control characters, not "." or ".."`,
    );
  }
  return name;
}

function fits(name: string): boolean {
  return Buffer.byteLength(name) <= mostNameBytes && !/\p{Cc}/u.test(name);
}
