import fc from 'fast-check';
import { expect } from 'vitest';
import { NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import type { FreeBlocks, FreeBlocksOptions } from '../../src/blocks/free-blocks.js';
import { FREED } from '../../src/blocks/kernel-interface.js';
import { alignUp } from '../../src/core/units.js';
import { HeapBench } from './heap-bench.js';

/** A part of a segment as the model knows it. */
interface Piece {
  readonly address: number;
  bytes: number;
  /** What its holder asked for; 0 when it is free. */
  requested: number;
}

export type FreeStep = { readonly add: number } | { readonly allocate: number } | { readonly free: number };

/** How free blocks behave: those of a {@link FreeModel}. */
export interface Rules extends Required<Pick<FreeBlocksOptions, 'unitBytes' | 'fit' | 'leastRestBytes'>> {
  readonly recyclingBytes: number;
  readonly splitBytes: number;
}

export const RULES: Rules = {
  unitBytes: 16,
  fit: 'exact',
  leastRestBytes: 16,
  recyclingBytes: Number.POSITIVE_INFINITY,
  splitBytes: Number.POSITIVE_INFINITY,
};

/** Free blocks beside lists of pieces, of which the free ones are searched through and joined by looking at all. */
export class FreeModel {
  readonly bench = new HeapBench();
  readonly free: FreeBlocks;
  readonly rules: Rules;
  readonly #segments: Piece[][] = [];
  readonly #held: Piece[] = [];
  #peakBytes = 0;
  #allocations = 0;

  constructor(rules: Partial<Rules> = {}) {
    this.rules = { ...RULES, leastRestBytes: rules.unitBytes ?? RULES.unitBytes, ...rules };
    const { unitBytes, fit, leastRestBytes, recyclingBytes, splitBytes } = this.rules;
    this.free = this.bench.free({ unitBytes, fit, leastRestBytes });
    this.free.setLimits(recyclingBytes, splitBytes);
  }

  perform(step: FreeStep): void {
    if ('add' in step) this.#add(alignUp(step.add, this.rules.unitBytes));
    else if ('allocate' in step) this.#allocate(step.allocate);
    else this.#free(step.free);
  }

  /** Compares bins, counters and heap with the model. */
  check(): void {
    const { bench, free } = this;
    bench.heap.checkInvariants();
    if (!free.isSound) expect.fail('the bins are not sound');
    const found = free.toArray().map((block) => `${bench.heap.bytesOf(block)}@${bench.heap.addressOf(block)}`);
    const wanted = this.#sorted().map(({ bytes, address }) => `${bytes}@${address}`);
    // A good fit keeps no order within a bin.
    if (this.rules.fit === 'good') for (const list of [found, wanted]) list.sort();
    if (found.join() !== wanted.join()) expect(found).toEqual(wanted);
    same('count', free.count, wanted.length);
    const { requestedBytes, allocatedBytes, blocks, cachedBytes } = bench.stats.snapshot();
    const allocated = sum(this.#held.map(({ bytes }) => bytes));
    this.#peakBytes = Math.max(this.#peakBytes, allocated);
    same('requested', requestedBytes.current, sum(this.#held.map(({ requested }) => requested)));
    same('allocated', allocatedBytes.current, allocated);
    same('peak of allocated', allocatedBytes.peak, this.#peakBytes);
    same('live blocks', blocks.current, this.#held.length);
    same('allocations', blocks.total, this.#allocations);
    same('cached', cachedBytes.current, sum(this.#sorted().map(({ bytes }) => bytes)));
  }

  #add(bytes: number): void {
    const block = this.bench.fill(bytes, this.free);
    this.#segments.push([{ address: this.bench.heap.addressOf(block), bytes, requested: 0 }]);
  }

  #allocate(bytes: number): void {
    const { unitBytes, fit, leastRestBytes, recyclingBytes, splitBytes } = this.rules;
    const size = alignUp(bytes, unitBytes);
    const best = this.#sorted().find((piece) => piece.bytes >= size);
    const mayUse = best !== undefined && best.bytes < recyclingBytes;
    const usable = this.free.usable(bytes);
    const address = this.free.allocate(bytes, USER_LOCK);
    // A good fit looks at few blocks of a list when it takes one.
    if (fit === 'exact' || usable === NONE) same('usable', usable === NONE, address === 0);
    if (address === 0) {
      // A good fit finds all that is larger by one part in 32, which is the width of a bin.
      const least = fit === 'exact' ? size : size + size / 32;
      const missed = this.#sorted().find((piece) => piece.bytes >= least && piece.bytes < recyclingBytes);
      if (missed !== undefined && (fit === 'good' || mayUse))
        expect.fail(`no block of ${size} bytes in ${JSON.stringify(missed)}`);
      return;
    }
    if (fit === 'exact') same(`fit of ${size} bytes`, address, mayUse ? best.address : 0);
    this.#allocations++;
    const piece = this.#cut(address, size, leastRestBytes, splitBytes);
    piece.requested = bytes;
    this.#held.push(piece);
    same('bytes', this.bench.heap.bytesOf(this.bench.heap.findLive(address)), piece.bytes);
  }

  /** Cuts the piece at an address as it should have been. */
  #cut(address: number, size: number, leastRestBytes: number, splitBytes: number): Piece {
    const segment = this.#segments.find((pieces) => pieces.some((piece) => piece.address === address))!;
    const at = segment.findIndex((piece) => piece.address === address);
    const piece = segment[at]!;
    if (piece.requested !== 0 || piece.bytes < size) expect.fail(`${JSON.stringify(piece)} is no block for ${size} bytes`);
    if (piece.bytes - size >= leastRestBytes && piece.bytes < splitBytes) {
      segment.splice(at + 1, 0, { address: address + size, bytes: piece.bytes - size, requested: 0 });
      piece.bytes = size;
    }
    return piece;
  }

  #free(index: number): void {
    const [piece] = this.#held.splice(index % Math.max(this.#held.length, 1), 1);
    if (piece === undefined) return;
    same('release', this.bench.heap.release(piece.address, USER_LOCK), FREED);
    piece.requested = 0;
    const segment = this.#segments.find((pieces) => pieces.includes(piece))!;
    for (let at = segment.length - 1; at > 0; at--) {
      const [lower, higher] = [segment[at - 1]!, segment[at]!];
      if (lower.requested !== 0 || higher.requested !== 0) continue;
      lower.bytes += higher.bytes;
      segment.splice(at, 1);
    }
  }

  /** The free pieces by size, then address. */
  #sorted(): Piece[] {
    const free = this.#segments.flat().filter(({ requested }) => requested === 0);
    return free.sort((a, b) => a.bytes - b.bytes || a.address - b.address);
  }
}

/** Sizes from 1 B to 2^50, most of them near others. */
export const size = fc.oneof(
  fc.integer({ min: 1, max: 40 }).map((units) => units * 16),
  fc.integer({ min: 1, max: 5000 }),
  fc.constantFrom(512, 2 ** 20, 2 ** 20 + 16, 2 ** 21, 20 * 2 ** 20),
  fc.integer({ min: 1, max: 2 ** 26 }),
  fc.integer({ min: 2 ** 30, max: 2 ** 50 }),
);

export const freeStep: fc.Arbitrary<FreeStep> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ add: size }) },
  { weight: 6, arbitrary: fc.record({ allocate: size }) },
  { weight: 5, arbitrary: fc.record({ free: fc.nat() }) },
);

/** As `expect(found).toBe(wanted)`, which costs too much for every step of every program. */
function same(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) expect.fail(`${what}: ${found}, but the model has ${wanted}`);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
