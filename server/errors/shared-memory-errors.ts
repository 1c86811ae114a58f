import { TensorwireError } from "./tensorwire-error.ts";

/** A tensor in shared memory where the server takes none. */
export function sharedMemoryUnsupported(tensor: string, why: string): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_UNSUPPORTED",
    `tensor "${tensor}" names a shared memory region, ${why}; send the contents in the message`,
    { tensor },
  );
}

/** A name of a region, or a key of an object, that is none. */
export function sharedMemoryNameInvalid(
  what: "region" | "key",
  given: string,
  expected: string,
): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_NAME_INVALID",
    `got shared memory ${what} ${JSON.stringify(given)}, expected ${expected}`,
    { [what]: given },
  );
}

/** A region of this name is registered. */
export function sharedMemoryRegionExists(region: string): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_REGION_EXISTS",
    `shared memory region '${region}' already in manager: it is registered; unregister it first, or take another name`,
    { region },
  );
}

/** No region of this name is registered. */
export function sharedMemoryRegionUnknown(region: string): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_REGION_UNKNOWN",
    `Unable to find system shared memory region: '${region}'; register it with SystemSharedMemoryRegister`,
    { region },
  );
}

/** The object of a region cannot be opened, read or written. */
export function sharedMemoryUnavailable(
  region: string,
  key: string,
  why: string,
  cause?: unknown,
): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_UNAVAILABLE",
    `shared memory region '${region}': object "${key}" ${why}`,
    { region, key },
    { cause },
  );
}

/** A range that is not within what it is a range of. */
export function sharedMemoryRangeInvalid(
  region: string,
  where: string,
  given: { readonly offset: bigint | number; readonly byteSize: bigint | number },
  limit: number,
): TensorwireError {
  const { offset, byteSize } = given;
  return new TensorwireError(
    "SHARED_MEMORY_RANGE_INVALID",
    `${where}: got offset ${offset} and ${byteSize} bytes, expected a range within the ${limit} bytes that there are`,
    {
      region,
      givenOffset: `${offset}`,
      givenBytes: `${byteSize}`,
      limitBytes: `${limit}`,
    },
  );
}

/** An output that is larger than the place that the call has for it. */
export function sharedMemoryTooSmall(
  output: string,
  region: string,
  needed: number,
  given: number,
): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_TOO_SMALL",
    `output "${output}" takes ${needed} bytes, and its place in shared memory region '${region}' has ${given}; give it a shared_memory_byte_size of ${needed}`,
    { output, region, neededBytes: `${needed}`, givenBytes: `${given}` },
  );
}

/** No more regions, or no more bytes. */
export function sharedMemoryLimit(
  what: string,
  given: number,
  limit: number,
  remedy: string,
): TensorwireError {
  return new TensorwireError(
    "SHARED_MEMORY_LIMIT",
    `${what}: ${given} would be above the limit of ${limit}; ${remedy}`,
    { given: `${given}`, limit: `${limit}` },
  );
}
