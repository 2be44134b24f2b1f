import { ABSENT, AddressHash } from '../../src/blocks/address-hash.js';
import { ensure } from '../../src/blocks/ensure.js';
import { widened } from '../../src/blocks/widened.js';
import { type CapturedSite, captureSite, formatSite, siteFrames } from '../../src/core/allocation-site.js';
import type { DevicePtr } from '../../src/core/units.js';

const INITIAL_CAPACITY = 64;

/** A number for each row, 0 until it is set. Reads and writes are O(1), amortised where the column grows. */
export class NumberColumn {
  #values = new Float64Array(INITIAL_CAPACITY);

  get(row: number): number {
    return row < this.#values.length ? this.#values[row]! : 0;
  }

  set(row: number, value: number): void {
    if (row >= this.#values.length) {
      this.#values = widened(this.#values, new Float64Array(Math.max(2 * this.#values.length, row + 1)));
    }
    this.#values[row] = value;
  }
}

/** Where the block of each row was allocated, for decorators that record it. */
export class SiteColumn {
  readonly #frames: number;
  readonly #sites: (CapturedSite | undefined)[] = [];

  /** @param sites - whether to record, or how many frames @throws ERR_MEM_INVALID_ARGUMENT for a number that is no positive integer */
  constructor(sites: boolean | number | undefined) {
    this.#frames = siteFrames(sites);
  }

  /** Records where the program is, if sites are recorded. */
  capture(row: number): void {
    if (this.#frames > 0) this.#sites[row] = captureSite(this.#frames);
  }

  set(row: number, site: CapturedSite | undefined): void {
    if (this.#frames > 0) this.#sites[row] = site;
  }

  get(row: number): CapturedSite | undefined {
    return this.#sites[row];
  }

  /** The program's stack, one line a frame; undefined where none was recorded. */
  text(row: number): string | undefined {
    const site = this.#sites[row];
    return site === undefined ? undefined : formatSite(site, this.#frames);
  }
}

/**
 * The live blocks that a decorator keeps books of: rows of numbers, found by address. Every operation is O(1), amortised.
 * A row is a small integer, which also numbers the rows of a decorator's own columns.
 */
export class LiveBlocks {
  count = 0;
  readonly #rows = new AddressHash();
  // 0 for a row that is not in use.
  readonly #addresses = new NumberColumn();
  readonly #bytes = new NumberColumn();
  readonly #requested = new NumberColumn();
  readonly #unused: number[] = [];
  #end = 0;

  /** The row of the block that `address` heads, or ABSENT. */
  find(address: number): number {
    return address === 0 ? ABSENT : this.#rows.get(address);
  }

  /** Enters a block under an address that has none. */
  add(address: number, bytes: number, requested: number): number {
    const row = this.#unused.pop() ?? this.#end++;
    this.#addresses.set(row, address);
    this.#bytes.set(row, bytes);
    this.#requested.set(row, requested);
    this.#rows.set(address, row);
    this.count++;
    return row;
  }

  remove(row: number): void {
    this.#rows.delete(this.#addresses.get(row));
    this.#addresses.set(row, 0);
    this.#unused.push(row);
    this.count--;
  }

  /** Gives a block other bytes. */
  resize(row: number, bytes: number, requested: number): void {
    this.#bytes.set(row, bytes);
    this.#requested.set(row, requested);
  }

  addressOf(row: number): number {
    return this.#addresses.get(row);
  }

  bytesOf(row: number): number {
    return this.#bytes.get(row);
  }

  /** The bytes that the caller asked for. */
  requestedOf(row: number): number {
    return this.#requested.get(row);
  }

  /** The rows of all live blocks. A row may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let row = 0; row < this.#end; row++) if (this.#addresses.get(row) !== 0) yield row;
  }

  /** @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    let rows = 0;
    for (let row = 0; row < this.#end; row++) {
      if (this.#addresses.get(row) === 0) continue;
      rows++;
      ensure(this.find(this.addressOf(row)) === row, () => `row ${row} is found under its address`);
      ensure(this.requestedOf(row) <= this.bytesOf(row), () => `requested <= bytes in row ${row}`);
    }
    ensure(rows === this.count, () => `${rows} live blocks are counted as ${this.count}`);
    ensure(rows + this.#unused.length === this.#end, 'every row is live or unused');
  }
}

/** The live blocks between guards: found by the address that the program knows, with that of the inner block. */
export class GuardedBlocks extends LiveBlocks {
  readonly locks = new NumberColumn();
  readonly devices = new NumberColumn();
  readonly #fronts = new NumberColumn();

  /** @param front - bytes from the inner block's start to the program's */
  enter(base: DevicePtr, bytes: number, front: number, locks: number, device: number): number {
    const row = this.add(base + front, bytes, bytes);
    this.#fronts.set(row, front);
    this.locks.set(row, locks);
    this.devices.set(row, device);
    return row;
  }

  /** The inner block's address. */
  baseOf(row: number): DevicePtr {
    return (this.addressOf(row) - this.#fronts.get(row)) as DevicePtr;
  }

  override checkInvariants(): void {
    super.checkInvariants();
    for (const row of this) {
      ensure(this.locks.get(row) !== 0, () => `block in row ${row} has a lock`);
      ensure(this.baseOf(row) < this.addressOf(row), () => `block in row ${row} has a guard before it`);
    }
  }
}
