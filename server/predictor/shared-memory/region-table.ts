import {
  sharedMemoryLimit,
  sharedMemoryRangeInvalid,
  sharedMemoryRegionExists,
  sharedMemoryRegionUnknown,
} from "../../errors/shared-memory-errors.ts";
import { checkRegionName } from "./names.ts";
import { type RegionPlace, SharedRegion } from "./shared-region.ts";

/** Bounds of a {@link RegionTable}. */
export interface RegionLimits {
  readonly regions: number;
  /** Bytes of all regions together; and of all copies of inputs that calls under way have of them. */
  readonly bytes: number;
}

/** A region as a caller asks for it. */
export interface RegionRequest {
  readonly name: string;
  readonly key: string;
  readonly offset: bigint;
  readonly byteSize: bigint;
}

/** The regions of shared memory that callers have registered. */
export class RegionTable {
  readonly limits: RegionLimits;
  readonly #folder: string;
  readonly #regions = new Map<string, SharedRegion>();
  #bytes = 0;
  #copied = 0;

  /** @param folder - where shared memory objects are */
  constructor(limits: RegionLimits, folder = "/dev/shm") {
    this.limits = limits;
    this.#folder = folder;
  }

  /** Regions that are registered. */
  get count(): number {
    return this.#regions.size;
  }

  /** Bytes of the regions that are registered. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of the inputs that calls under way have copied from regions. */
  get copiedBytes(): number {
    return this.#copied;
  }

  /**
   * Registers a region of an object that is there.
   *
   * @throws TensorwireError `SHARED_MEMORY_REGION_EXISTS`, `SHARED_MEMORY_NAME_INVALID`,
   * `SHARED_MEMORY_RANGE_INVALID`, `SHARED_MEMORY_LIMIT`, `SHARED_MEMORY_UNAVAILABLE`
   */
  register({ name, key, offset, byteSize }: RegionRequest): void {
    checkRegionName(name);
    if (this.#regions.has(name)) throw sharedMemoryRegionExists(name);
    if (byteSize < 1n || offset < 0n || offset + byteSize > BigInt(Number.MAX_SAFE_INTEGER)) {
      const where = `shared memory region '${name}'`;
      throw sharedMemoryRangeInvalid(name, where, { offset, byteSize }, Number.MAX_SAFE_INTEGER);
    }
    const { regions, bytes } = this.limits;
    if (this.#regions.size >= regions) {
      const remedy = "unregister some, or raise --max-shared-memory-regions";
      throw sharedMemoryLimit("registered regions", regions + 1, regions, remedy);
    }
    const size = Number(byteSize);
    if (this.#bytes + size > bytes) {
      const remedy = "unregister some, or raise --max-shared-memory";
      throw sharedMemoryLimit("bytes of registered regions", this.#bytes + size, bytes, remedy);
    }
    const place: RegionPlace = { name, key, offset: Number(offset), byteSize: size };
    this.#regions.set(name, SharedRegion.open(place, this.#folder));
    this.#bytes += size;
  }

  /** Forgets a region, if there is one of this name; calls under way that hold it go on. */
  unregister(name: string): void {
    const region = this.#regions.get(name);
    if (!region) return;
    this.#regions.delete(name);
    this.#bytes -= region.place.byteSize;
    region.release();
  }

  /** Forgets all. */
  unregisterAll(): void {
    for (const name of [...this.#regions.keys()]) this.unregister(name);
  }

  /** @throws TensorwireError `SHARED_MEMORY_REGION_UNKNOWN` */
  find(name: string): SharedRegion {
    const region = this.#regions.get(name);
    if (!region) throw sharedMemoryRegionUnknown(name);
    return region;
  }

  /** Where the registered regions are. */
  places(): readonly RegionPlace[] {
    return Array.from(this.#regions.values(), ({ place }) => place);
  }

  /**
   * Takes bytes of what calls may have copied at once.
   *
   * @throws TensorwireError `SHARED_MEMORY_LIMIT`
   */
  takeCopy(bytes: number): void {
    const copied = this.#copied + bytes;
    if (copied > this.limits.bytes) {
      throw sharedMemoryLimit(
        "bytes of inputs that calls under way have in shared memory",
        copied,
        this.limits.bytes,
        "send fewer at once, or raise --max-shared-memory",
      );
    }
    this.#copied = copied;
  }

  /** Gives them back. */
  giveCopy(bytes: number): void {
    this.#copied -= bytes;
  }
}
