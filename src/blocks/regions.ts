import { type CarvedRegion, NO_BLOCK } from './carved-region.js';
import type { DeviceStorage, LeavingMemory, ManagedDevice } from './device-storage.js';
import { ensure } from './ensure.js';
import { RegionStats } from './region-stats.js';

/** What is held on one device. */
export class RegionsOfDevice<R> implements ManagedDevice {
  readonly device: number;
  readonly stats = new RegionStats();
  readonly regions: R[] = [];
  /** Where room is looked for first. */
  current: R | undefined;
  underway = 0;

  constructor(device: number) {
    this.device = device;
  }
}

/** The regions of a manager, by device and by address. */
export class Regions<R extends CarvedRegion> implements DeviceStorage<RegionsOfDevice<R>> {
  readonly #devices: (RegionsOfDevice<R> | undefined)[] = [];
  /** All regions by address. */
  readonly #byAddress: R[] = [];
  /** Those that go back to the device with their only block. */
  readonly #forOne = new Set<R>();
  /** The region of the last pointer. */
  #lastFound: R | undefined;

  get all(): readonly RegionsOfDevice<R>[] {
    return this.#devices.filter((held) => held !== undefined);
  }

  get metadataBytes(): number {
    return this.#byAddress.reduce((sum, region) => sum + region.metadataBytes, 0);
  }

  get(device: number): RegionsOfDevice<R> | undefined {
    return this.#devices[device];
  }

  statsOf(device: number): RegionStats | undefined {
    return this.#devices[device]?.stats;
  }

  open(device: number): RegionsOfDevice<R> {
    return (this.#devices[device] = new RegionsOfDevice<R>(device));
  }

  close(device: number): void {
    this.#devices[device] = undefined;
  }

  /** Tells whether a region was got for one block. */
  isForOne(region: R): boolean {
    return this.#forOne.has(region);
  }

  /** Enters native memory that was got, as the region where room is looked for first. */
  add(held: RegionsOfDevice<R>, region: R, forOne: boolean): void {
    this.#enter(held, region, forOne, held.regions.length);
    held.current = region;
    held.stats.reserved(region.bytes);
  }

  /** Takes a region out of the books: it is about to go back to the device. */
  leave(held: RegionsOfDevice<R>, region: R): LeavingMemory {
    const { regions } = held;
    const at = regions.indexOf(region);
    regions.splice(at, 1);
    this.#byAddress.splice(this.#countUpTo(region.base) - 1, 1);
    const wasForOne = this.#forOne.delete(region);
    if (held.current === region) held.current = regions.at(-1);
    if (this.#lastFound === region) this.#lastFound = undefined;
    held.stats.released(region.bytes);
    return {
      address: region.base,
      putBack: () => {
        this.#enter(held, region, wasForOne, at);
        held.stats.reservedAgain(region.bytes);
      },
      end: () => {},
    };
  }

  /** Tells whether a region is in the books. */
  has(region: R): boolean {
    return this.#byAddress[this.#countUpTo(region.base) - 1] === region;
  }

  /** The region that an address lies in. Cost: O(log regions), and less for neighbours of the last one. */
  at(address: number): R | undefined {
    const last = this.#lastFound;
    return last !== undefined && address >= last.base && address < last.base + last.bytes ? last : this.#search(address);
  }

  liveBytesAt(address: number): number {
    const region = this.at(address);
    const block = region === undefined ? NO_BLOCK : region.find(address);
    return block === NO_BLOCK || region!.locksOf(block) === 0 ? 0 : region!.bytesOf(block);
  }

  locksAt(address: number): number {
    const region = this.at(address);
    const block = region === undefined ? NO_BLOCK : region.find(address);
    return block === NO_BLOCK ? 0 : region!.locksOf(block);
  }

  setLocksAt(address: number, locks: number): void {
    const region = this.at(address)!;
    region.setLocks(region.find(address), locks);
  }

  setRequestedAt(address: number, requestedBytes: number): void {
    const region = this.at(address)!;
    const block = region.find(address);
    const [requestedBefore, bytesBefore] = [region.requestedOf(block), region.bytesOf(block)];
    region.setRequested(block, requestedBytes);
    this.statsOf(region.device)!.resized(requestedBytes - requestedBefore, region.bytesOf(block) - bytesBefore);
  }

  isFreeAt(address: number): boolean {
    const region = this.at(address);
    const block = region === undefined ? NO_BLOCK : region.find(address);
    return block !== NO_BLOCK && region!.locksOf(block) === 0;
  }

  checkInvariants(): void {
    this.#byAddress.forEach((region, i) => {
      const next = this.#byAddress[i + 1];
      ensure(next === undefined || region.base + region.bytes <= next.base, 'regions ascend and do not overlap');
      region.checkInvariants();
    });
    let regionCount = 0;
    for (const { device, stats, regions, current } of this.all) {
      regionCount += regions.length;
      let reserved = 0;
      let allocated = 0;
      let live = 0;
      for (const region of regions) {
        reserved += region.bytes;
        live += region.live;
        for (const block of region.liveBlocks()) allocated += region.bytesOf(block);
      }
      ensure(stats.reservedBytes === reserved, () => `reserved == sum(region.bytes) on device ${device}`);
      ensure(stats.allocatedBytes === allocated, () => `allocated == sum(live.bytes) on device ${device}`);
      ensure(stats.liveBlocks === live, () => `blocks == live blocks on device ${device}`);
      ensure(current === undefined || regions.includes(current), 'the current region is one of the device');
    }
    ensure(regionCount === this.#byAddress.length, 'every region belongs to a device');
  }

  #enter(held: RegionsOfDevice<R>, region: R, forOne: boolean, at: number): void {
    if (forOne) this.#forOne.add(region);
    this.#byAddress.splice(this.#countUpTo(region.base), 0, region);
    held.regions.splice(at, 0, region);
  }

  #search(address: number): R | undefined {
    const region = this.#byAddress[this.#countUpTo(address) - 1];
    if (region === undefined || !(address < region.base + region.bytes)) return undefined;
    this.#lastFound = region;
    return region;
  }

  /** How many regions begin at or before an address. */
  #countUpTo(address: number): number {
    const regions = this.#byAddress;
    let low = 0;
    let high = regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (regions[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
