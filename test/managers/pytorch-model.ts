import type { PyTorchSettings } from '../../managers/index.js';
import { MiB } from '../../src/core/units.js';

/** A native call: what it did, its bytes, the stream whose block asked for it or had it, and where. */
export type ModelCall = readonly [
  action: 'segment_alloc' | 'segment_free' | 'segment_map' | 'segment_unmap',
  bytes: number,
  stream: number,
  address: number,
];

/** A block, live or free, or a part of an expandable segment without memory. */
export interface ModelBlock {
  address: number;
  bytes: number;
  readonly stream: number;
  readonly pool: ModelPool;
  previous: ModelBlock | undefined;
  next: ModelBlock | undefined;
  isMapped: boolean;
  isAllocated: boolean;
  /** Streams that use it beside its own. */
  readonly users: Set<number>;
  /** How many searches its pool had seen when it was freed. */
  freedAt: number;
}

export interface ModelPool {
  readonly id: number;
  readonly isSmall: boolean;
  readonly free: ModelBlock[];
  readonly unmapped: ModelBlock[];
  searches: number;
}

/** Where the model gets addresses from. */
export interface ModelDevice {
  alloc(bytes: number): number;
  free(address: number, bytes: number): void;
  /** An address range that begins at a multiple of any page. */
  reserve(): number;
  readonly capacityBytes: number;
}

const SMALL = MiB;
const UNIT = 512;
const bySize = (a: ModelBlock, b: ModelBlock) => a.stream - b.stream || a.bytes - b.bytes || a.address - b.address;
const byAddress = (a: ModelBlock, b: ModelBlock) => a.stream - b.stream || a.address - b.address;

/**
 * PyTorch's policy once more, as plainly as can be: sorted arrays, no kernel, one function a rule. What the manager does is
 * compared with it, call for call and address for address.
 */
export class PyTorchModel {
  reservedBytes = 0;
  readonly calls: ModelCall[] = [];
  /** Told of each block that comes back. */
  onCompleted: ((block: ModelBlock) => void) | undefined;
  readonly #settings: PyTorchSettings;
  readonly #limitBytes: number | undefined;
  readonly #device: ModelDevice;
  readonly #pools = new Map<number, readonly [small: ModelPool, large: ModelPool]>();
  readonly #released = new Set([0]);
  /** Blocks that were freed while streams use them. */
  readonly #waiting: ModelBlock[] = [];

  constructor(settings: PyTorchSettings, limitBytes: number | undefined, device: ModelDevice) {
    this.#settings = settings;
    this.#limitBytes = limitBytes;
    this.#device = device;
    this.#poolOf(0, true);
  }

  usePool(pool: number): void {
    this.#poolOf(pool, true);
    this.#released[pool === 0 ? 'add' : 'delete'](pool);
  }

  releasePool(pool: number): void {
    this.#released.add(pool);
  }

  /** @returns undefined when it is out of memory */
  alloc(requested: number, stream: number, pool: number): ModelBlock | undefined {
    const bytes = this.#rounded(requested);
    const from = this.#poolOf(pool, bytes <= SMALL);
    if (this.#collectsByAge) from.searches++;
    const found = this.#find(from, bytes, stream) ?? this.#getMemory(from, bytes, stream);
    if (found === undefined) return undefined;
    const rest = found.bytes - bytes;
    const cutsAll = from.isSmall || this.#settings.expandableSegments;
    if (cutsAll ? rest >= UNIT : bytes < this.#settings.maxSplitSizeBytes && rest > SMALL)
      insert(from.free, cut(found, bytes), bySize);
    found.isAllocated = true;
    return found;
  }

  free(block: ModelBlock): void {
    block.isAllocated = false;
    if (block.users.size > 0) this.#waiting.push(block);
    else this.#takeBack(block);
  }

  /** The streams are done with what was freed. */
  settle(isDone: (stream: number) => boolean): void {
    for (const block of this.#waiting.splice(0)) {
      for (const stream of block.users) if (isDone(stream)) block.users.delete(stream);
      if (block.users.size > 0) this.#waiting.push(block);
      else this.#takeBack(block);
    }
  }

  /** All pools that were used, small and large. */
  get pools(): readonly ModelPool[] {
    return [...this.#pools.values()].flat();
  }

  emptyCache(): void {
    this.settle(() => true);
    for (const [id, [small, large]] of [...this.#pools].sort(([a], [b]) => a - b)) {
      if (!this.#released.has(id)) continue;
      for (const pool of [large, small]) this.#empty(pool);
    }
  }

  get #collectsByAge(): boolean {
    return this.#limitBytes !== undefined && this.#settings.garbageCollectionThreshold > 0;
  }

  #poolOf(id: number, isSmall: boolean): ModelPool {
    let pools = this.#pools.get(id);
    if (pools === undefined) {
      const make = (small: boolean): ModelPool => ({ id, isSmall: small, free: [], unmapped: [], searches: 0 });
      pools = [make(true), make(false)];
      this.#pools.set(id, pools);
    }
    return pools[isSmall ? 0 : 1];
  }

  #rounded(bytes: number): number {
    const { roundupPower2Divisions } = this.#settings;
    let interval = 0;
    while (interval < 15 && bytes >= MiB * 2 ** (interval + 1)) interval++;
    const divisions = roundupPower2Divisions[interval]!;
    if (divisions <= 1 || bytes <= UNIT * divisions) return Math.max(UNIT, up(bytes, UNIT));
    let power = UNIT;
    while (power * 2 <= bytes) power *= 2;
    return up(bytes, power / divisions);
  }

  #find({ free }: ModelPool, bytes: number, stream: number): ModelBlock | undefined {
    const { expandableSegments, maxSplitSizeBytes, maxNonSplitRoundingBytes } = this.#settings;
    const own = free.filter((block) => block.stream === stream);
    let at = own.findIndex((block) => block.bytes >= bytes);
    if (at < 0) return undefined;
    const growable = (block: ModelBlock) => block.bytes + (block.next?.isMapped === false ? block.next.bytes : 0);
    if (expandableSegments) while (at + 1 < own.length && growable(own[at + 1]!) < growable(own[at]!)) at++;
    const block = own[at]!;
    if (bytes < maxSplitSizeBytes && block.bytes >= maxSplitSizeBytes) return undefined;
    if (bytes >= maxSplitSizeBytes && block.bytes >= bytes + maxNonSplitRoundingBytes) return undefined;
    remove(free, block);
    return block;
  }

  #getMemory(pool: ModelPool, bytes: number, stream: number): ModelBlock | undefined {
    if (this.#collectsByAge) this.#collect();
    const first = this.#ask(pool, bytes, stream);
    if (first !== undefined) return first;
    if (this.#releaseAvailable(pool, bytes, stream)) {
      const second = this.#ask(pool, bytes, stream);
      if (second !== undefined) return second;
    }
    this.emptyCache();
    return this.#ask(pool, bytes, stream);
  }

  #ask(pool: ModelPool, bytes: number, stream: number): ModelBlock | undefined {
    const large = bytes < 10 * MiB ? this.#settings.largeSegmentSizeBytes : 0;
    const segment = bytes <= SMALL ? 2 * MiB : Math.max(large, up(bytes, 2 * MiB));
    if (this.#limitBytes !== undefined && this.reservedBytes + segment > this.#limitBytes) return undefined;
    if (this.#settings.expandableSegments) return this.#map(pool, bytes, stream);
    const address = this.#device.alloc(segment);
    if (address === 0) return undefined;
    this.reservedBytes += segment;
    this.calls.push(['segment_alloc', segment, stream, address]);
    return blockAt(address, segment, stream, pool, true);
  }

  #takeBack(block: ModelBlock): void {
    const { pool } = block;
    this.onCompleted?.(block);
    this.#join(block);
    block.freedAt = pool.searches;
    insert(pool.free, block, bySize);
  }

  /** Joins a free block, or a part without memory, with those beside it that are alike. It is in no list. */
  #join(block: ModelBlock): void {
    const { pool } = block;
    const list = block.isMapped ? pool.free : pool.unmapped;
    const isAlike = (other: ModelBlock | undefined): other is ModelBlock =>
      other !== undefined && !other.isAllocated && other.users.size === 0 && other.isMapped === block.isMapped;
    const { previous, next } = block;
    if (isAlike(previous)) {
      remove(list, previous);
      block.address = previous.address;
      block.bytes += previous.bytes;
      block.previous = previous.previous;
      if (block.previous !== undefined) block.previous.next = block;
    }
    if (isAlike(next)) {
      remove(list, next);
      block.bytes += next.bytes;
      block.next = next.next;
      if (block.next !== undefined) block.next.previous = block;
    }
  }

  #giveBack(block: ModelBlock): void {
    remove(block.pool.free, block);
    this.reservedBytes -= block.bytes;
    this.calls.push(['segment_free', block.bytes, block.stream, block.address]);
    this.#device.free(block.address, block.bytes);
  }

  #collect(): void {
    if (this.#settings.expandableSegments) return;
    const pool = this.#poolOf(0, false);
    const ageOf = (block: ModelBlock) => pool.searches - block.freedAt;
    let excess = this.reservedBytes - this.#settings.garbageCollectionThreshold * this.#limitBytes!;
    let whole = pool.free.filter(isWhole);
    for (let isAny = true; excess > 0 && isAny && whole.length > 0; ) {
      isAny = false;
      const average = whole.reduce((sum, block) => sum + ageOf(block), 0) / whole.length;
      for (const block of whole) {
        if (ageOf(block) < average) continue;
        isAny = true;
        excess -= block.bytes;
        this.#giveBack(block);
      }
      whole = whole.filter((block) => pool.free.includes(block));
    }
  }

  #releaseAvailable({ free }: ModelPool, bytes: number, stream: number): boolean {
    const { maxSplitSizeBytes, expandableSegments } = this.#settings;
    if (maxSplitSizeBytes === Number.POSITIVE_INFINITY || expandableSegments) return false;
    const needed = Math.max(bytes, maxSplitSizeBytes);
    const own = free.filter((block) => block.stream === stream);
    const enough = own.find((block) => block.bytes >= needed);
    if (enough !== undefined) {
      this.#giveBack(enough);
      return true;
    }
    let given = 0;
    for (const block of own.reverse()) {
      if (given >= needed || block.bytes < maxSplitSizeBytes) break;
      given += block.bytes;
      this.#giveBack(block);
    }
    return given >= needed;
  }

  #empty(pool: ModelPool): void {
    for (const block of [...pool.free]) {
      if (!this.#settings.expandableSegments) {
        if (isWhole(block)) this.#giveBack(block);
      } else this.#unmap(block);
    }
    for (const range of pool.unmapped.filter(isWhole)) remove(pool.unmapped, range);
  }

  #pageBytes({ isSmall }: ModelPool): number {
    return isSmall ? 2 * MiB : this.#settings.largeSegmentSizeBytes;
  }

  #unmap(block: ModelBlock): void {
    const { pool } = block;
    const page = this.#pageBytes(pool);
    const from = up(block.address, page);
    const to = Math.floor((block.address + block.bytes) / page) * page;
    if (to <= from) return;
    remove(pool.free, block);
    let middle = block;
    if (from > block.address) {
      middle = cut(block, from - block.address);
      insert(pool.free, block, bySize);
    }
    if (to < middle.address + middle.bytes) insert(pool.free, cut(middle, to - from), bySize);
    middle.isMapped = false;
    this.#join(middle);
    insert(pool.unmapped, middle, byAddress);
    this.reservedBytes -= to - from;
    this.calls.push(['segment_unmap', to - from, block.stream, from]);
  }

  #map(pool: ModelPool, bytes: number, stream: number): ModelBlock | undefined {
    const page = this.#pageBytes(pool);
    for (let block = this.#roomFor(pool, bytes, stream); ; ) {
      if (block.isMapped && block.bytes >= bytes) {
        // It came back when its users were waited for.
        remove(pool.free, block);
        return block;
      }
      const hole = block.isMapped ? block.next! : block;
      const missing = block.isMapped ? bytes - block.bytes : bytes;
      const mapped = Math.min(up(missing, page), hole.bytes);
      remove(pool.unmapped, hole);
      if (mapped < hole.bytes) insert(pool.unmapped, cut(hole, mapped), byAddress);
      const { address } = hole;
      hole.isMapped = true;
      this.#join(hole);
      this.reservedBytes += mapped;
      this.calls.push(['segment_map', mapped, stream, address]);
      if (hole.bytes >= bytes) return hole;
      insert(pool.free, hole, bySize);
      block = hole;
    }
  }

  #roomFor(pool: ModelPool, bytes: number, stream: number): ModelBlock {
    const isUsable = (block: ModelBlock | undefined): block is ModelBlock =>
      block !== undefined && !block.isAllocated && block.users.size === 0;
    for (const hole of pool.unmapped.filter((one) => one.stream === stream)) {
      const start = isUsable(hole.previous) ? hole.previous : hole;
      let room = 0;
      for (let block: ModelBlock | undefined = start; room < bytes && isUsable(block); block = block.next) room += block.bytes;
      if (room >= bytes) return start;
    }
    const page = this.#pageBytes(pool);
    const room = up(Math.max((this.#device.capacityBytes * 9) / 8, bytes), page);
    const range = blockAt(this.#device.reserve(), room, stream, pool, false);
    insert(pool.unmapped, range, byAddress);
    return range;
  }
}

function up(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function blockAt(address: number, bytes: number, stream: number, pool: ModelPool, isMapped: boolean): ModelBlock {
  return {
    address,
    bytes,
    stream,
    pool,
    previous: undefined,
    next: undefined,
    isMapped,
    isAllocated: false,
    users: new Set(),
    freedAt: pool.searches,
  };
}

/** Leaves `bytes` in a block. @returns the rest, in no list */
function cut(block: ModelBlock, bytes: number): ModelBlock {
  const rest = blockAt(block.address + bytes, block.bytes - bytes, block.stream, block.pool, block.isMapped);
  rest.previous = block;
  rest.next = block.next;
  if (block.next !== undefined) block.next.previous = rest;
  block.next = rest;
  block.bytes = bytes;
  return rest;
}

function isWhole(block: ModelBlock): boolean {
  return block.previous === undefined && block.next === undefined;
}

function insert(list: ModelBlock[], block: ModelBlock, order: (a: ModelBlock, b: ModelBlock) => number): void {
  const at = list.findIndex((other) => order(block, other) < 0);
  list.splice(at < 0 ? list.length : at, 0, block);
}

function remove(list: ModelBlock[], block: ModelBlock): void {
  list.splice(list.indexOf(block), 1);
}
