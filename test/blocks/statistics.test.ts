import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { USER_LOCK } from '../../src/blocks/block-rows.js';
import { FREED } from '../../src/blocks/kernel-interface.js';
import { HeapBench } from './heap-bench.js';

/** A quantity as `MemoryStats` gives it, counted the plain way. */
class Quantity {
  current = 0;
  peak = 0;
  total = 0;

  add(amount: number): void {
    this.current += amount;
    this.peak = Math.max(this.peak, this.current);
    this.total += Math.max(amount, 0);
  }
}

interface Held {
  readonly pointer: number;
  readonly requested: number;
  readonly bytes: number;
  readonly hasUsers: boolean;
}

/** Free blocks with a front, beside a naive count of what is done to them. */
class Counted {
  readonly bench = new HeapBench();
  readonly free = this.bench.free();
  readonly requested = new Quantity();
  readonly allocated = new Quantity();
  readonly blocks = new Quantity();
  readonly reserved = new Quantity();
  readonly held: Held[] = [];
  readonly pending: { readonly block: number; readonly bytes: number }[] = [];
  deferred = 0;
  activePeak = 0;
  cachedPeak = 0;

  constructor() {
    this.free.addFront(512, 4096);
  }

  reserve(bytes: number): void {
    this.bench.fill(bytes, this.free);
    this.reserved.add(bytes);
  }

  /** Gives back one free block of those that are whole segments, if there is any. */
  giveBack(): void {
    this.free.flush();
    const block = this.free.toArray().find((each) => this.bench.heap.isWholeSegment(each));
    if (block === undefined) return;
    const bytes = this.bench.heap.bytesOf(block);
    this.free.takeOut(block);
    this.bench.heap.remove(block);
    this.bench.stats.released(bytes);
    this.reserved.add(-bytes);
  }

  allocate(requested: number, hasUsers: boolean): void {
    const pointer = this.free.allocate(requested, USER_LOCK);
    if (pointer === 0) return;
    const block = this.bench.heap.findLive(pointer);
    if (hasUsers) this.bench.heap.setUsed(block);
    const bytes = this.bench.heap.bytesOf(block);
    this.held.push({ pointer, requested, bytes, hasUsers });
    this.#count(requested, bytes, 1);
  }

  /** @param holdsAgain - whether the manager cannot take the block back, when it has further users */
  release(index: number, holdsAgain: boolean): void {
    const at = index % Math.max(this.held.length, 1);
    const held = this.held[at];
    if (held === undefined) return;
    const outcome = this.bench.heap.release(held.pointer, USER_LOCK);
    if (!held.hasUsers) expect(outcome).toBe(FREED);
    else if (holdsAgain) {
      this.bench.heap.holdAgain(outcome, USER_LOCK);
      return;
    }
    this.held.splice(at, 1);
    if (held.hasUsers) {
      this.pending.push({ block: outcome, bytes: held.bytes });
      this.deferred += held.bytes;
    }
    this.#count(-held.requested, -held.bytes, -1);
  }

  retire(): void {
    const first = this.pending.shift();
    if (first === undefined) return;
    this.bench.heap.retire(first.block);
    this.deferred -= first.bytes;
  }

  check(): void {
    const active = this.allocated.current + this.deferred;
    const cached = this.reserved.current - active;
    this.activePeak = Math.max(this.activePeak, active);
    this.cachedPeak = Math.max(this.cachedPeak, cached);
    const { requestedBytes, allocatedBytes, blocks, reservedBytes, activeBytes, cachedBytes } = this.bench.stats.snapshot();
    const wanted = [
      this.requested,
      this.allocated,
      this.blocks,
      this.reserved,
      { current: active, peak: this.activePeak, total: this.allocated.total },
      { current: cached, peak: this.cachedPeak, total: cachedBytes.total },
    ];
    const found = [requestedBytes, allocatedBytes, blocks, reservedBytes, activeBytes, cachedBytes];
    const isAsCounted = found.every((stat, i) => {
      const { current, peak, total } = wanted[i]!;
      return stat.current === current && stat.peak === peak && stat.total === total;
    });
    if (!isAsCounted) expect(found).toEqual(wanted.map(({ current, peak, total }) => ({ current, peak, total })));
  }

  #count(requested: number, bytes: number, blocks: number): void {
    this.requested.add(requested);
    this.allocated.add(bytes);
    this.blocks.add(blocks);
  }
}

const step: fc.Arbitrary<(counted: Counted) => void> = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 300 }).map((units) => (it: Counted) => it.reserve(16 * units)) },
  { weight: 1, arbitrary: fc.constant((it: Counted) => it.giveBack()) },
  {
    weight: 8,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 700 }), fc.nat(3)).map(
      ([bytes, dice]) =>
        (it: Counted) =>
          it.allocate(bytes, dice === 0),
    ),
  },
  {
    weight: 7,
    arbitrary: fc.tuple(fc.nat(), fc.boolean()).map(
      ([index, fails]) =>
        (it: Counted) =>
          it.release(index, fails),
    ),
  },
  { weight: 2, arbitrary: fc.constant((it: Counted) => it.retire()) },
);

describe('MemoryStats', () => {
  test('counts as a naive model does after every step of any program', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (program) => {
        const counted = new Counted();
        for (const perform of program) {
          perform(counted);
          counted.check();
        }
      }),
      { numRuns: 200 },
    );
  });

  test('notes a peak that comes of a block that is held again', () => {
    const bench = new HeapBench();
    const free = bench.free();
    const [block = 0] = bench.cut([512], free);
    const pointer = bench.heap.handOut(block, 500, USER_LOCK);
    bench.heap.setUsed(block);
    bench.heap.release(pointer, USER_LOCK);
    // As an event that cannot be recorded may be told of to a program that allocates.
    bench.heap.handOut(bench.segment(256, free), 250, USER_LOCK);
    bench.heap.holdAgain(block, USER_LOCK);
    expect(bench.stats.snapshot()).toMatchObject({
      requestedBytes: { current: 750, peak: 750 },
      allocatedBytes: { current: 768, peak: 768 },
      blocks: { current: 2, peak: 2 },
    });
  });
});
