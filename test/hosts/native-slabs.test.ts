import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NativeSlabs } from '../../adapters/hosts/slabs/native-slabs.js';
import { SLAB_CODE } from '../../adapters/hosts/slabs/slab-code.js';
import { fillBytes, readWords } from '../../adapters/os/bytes.js';
import { lazy } from '../../adapters/os/libc.js';
import { codeOf } from '../fixtures/code-of.js';
import { inLastFrames } from '../fixtures/full-stack.js';
import { requireProgram } from '../fixtures/requires.js';
import { LARGE_BYTES, SlabBench } from './slab-bench.js';

const gcc = requireProgram('gcc', ['/usr/bin/gcc', '/usr/local/bin/gcc']);
const SOURCES = '../../adapters/hosts/slabs/compile.mjs';
type Compiler = { compileSlabs(): typeof SLAB_CODE };
const compiled = lazy(async () => ((await import(new URL(SOURCES, import.meta.url).href)) as Compiler).compileSlabs());
/** The words of slabs, of which the first is the lock. */
function wordsOf(slabs: NativeSlabs): Uint32Array {
  using exchange = vi.spyOn(Atomics, 'compareExchange');
  slabs.trim();
  const [words, at] = exchange.mock.calls[0] as unknown as [Uint32Array, number];
  return words.subarray(at);
}

describe.skipIf(!NativeSlabs.isSupported)('NativeSlabs', () => {
  describe.skipIf(gcc.missing)(`with what ${gcc.title} makes of the source`, () => describeSlabs(compiled));
  describe('with the committed code', () => describeSlabs(async () => SLAB_CODE));
});

function describeSlabs(load: () => Promise<typeof SLAB_CODE>): void {
  let bench: SlabBench;

  beforeEach(async () => {
    bench = new SlabBench(await load());
  });

  afterEach(() => bench.dispose());

  const fill = (bytes: number, count: number) => Array.from({ length: count }, () => bench.malloc(bytes));
  const slabs = () => bench.slabs.usage().slabs;

  test('serves every size up to 8 KiB from a cell of a multiple of 16 that loses at most an eighth, or 16 bytes', () => {
    for (let bytes = 1; bytes < LARGE_BYTES; bytes++) {
      const ptr = bench.malloc(bytes);
      const size = bench.size(ptr);
      if (ptr % 16 !== 0 || size < bytes || size - bytes >= Math.max(16, bytes / 8))
        expect.fail(`${bytes} bytes: ${size} at ${ptr}`);
      bench.free(ptr);
    }
    expect(bench.calls).toEqual([]);
  });

  test('leaves blocks above 8 KiB, their reallocation and their end to JavaScript', () => {
    expect(bench.malloc(LARGE_BYTES)).toBe(bench.large);
    // Not a cell: its mark is another.
    const block = bench.device.nativeAlloc(64);
    fillBytes(block, 7, 64);
    expect(bench.size(block + 16)).toBe(0x07070707);
    expect(bench.realloc(block + 16, 5)).toBe(bench.large);
    bench.free(block + 16);
    bench.device.nativeFree(block);
    const grown = bench.malloc(100);
    fillBytes(grown, 9, 100);
    expect(bench.realloc(grown, LARGE_BYTES)).toBe(bench.large);
    const words = new Uint32Array(1);
    readWords(words, bench.large + 96, 4);
    expect([words[0], bench.slabs.usage().liveCells]).toEqual([0x09090909, 0]);
    expect(bench.calls).toEqual([
      ['malloc', LARGE_BYTES],
      ['realloc', block + 16, 5],
      ['free', block + 16],
      ['malloc', LARGE_BYTES],
    ]);
  });

  test('does nothing for null, and gives a cell for 0 bytes', () => {
    bench.free(0);
    expect(bench.size(0)).toBe(0);
    const ptr = bench.malloc(0);
    expect(bench.size(ptr)).toBe(16);
    bench.free(ptr);
    const grown = bench.realloc(0, 40);
    expect(bench.size(grown)).toBe(48);
    bench.free(grown);
  });

  test.each([
    [1, 8],
    [7, 8],
    [8, 8],
    [1_000_000, 1_000_000],
  ])('rounds %i up to %i', (bytes, rounded) => expect(bench.roundup(bytes)).toBe(rounded));

  test('keeps what is written to cells apart, over 20,000 random calls, and gives everything back', () => {
    const live: { ptr: number; bytes: number; mark: number }[] = [];
    const words = new Uint32Array(2);
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const check = ({ ptr, bytes, mark }: (typeof live)[number]) => {
      for (const at of [ptr, ptr + bytes - 8]) {
        readWords(words, at, 8);
        if (words[0] !== mark * 0x01010101 || words[1] !== words[0]) expect.fail(`${bytes} bytes at ${ptr} were overwritten`);
      }
    };
    for (let step = 0; step < 20_000; step++) {
      const mark = step % 256;
      const bytes = 8 + random(random(4) === 0 ? 8000 : 200);
      const at = random(live.length + 1);
      const held = live[at];
      if (held === undefined || (live.length < 800 && step % 3 > 0)) {
        const ptr = bench.malloc(bytes);
        fillBytes(ptr, mark, bytes);
        live.push({ ptr, bytes, mark });
        continue;
      }
      check(held);
      if (step % 2 === 0) {
        bench.free(held.ptr);
        live[at] = live.at(-1)!;
        live.pop();
      } else {
        held.ptr = bench.realloc(held.ptr, bytes);
        readWords(words, held.ptr, 8);
        expect([...words]).toEqual([held.mark * 0x01010101, held.mark * 0x01010101]);
        fillBytes(held.ptr, mark, bytes);
        Object.assign(held, { bytes, mark });
      }
    }
    expect(bench.slabs.usage().liveCells).toBe(live.length);
    for (const one of live) {
      check(one);
      bench.free(one.ptr);
    }
    expect(bench.calls).toEqual([]);
  });

  test('realloc stays where there is room, and moves what would lie three quarters idle', () => {
    const ptr = bench.malloc(1000);
    expect(bench.realloc(ptr, 1024)).toBe(ptr);
    expect(bench.realloc(ptr, 257)).toBe(ptr);
    const moved = bench.realloc(ptr, 200);
    expect(moved).not.toBe(ptr);
    expect(bench.size(moved)).toBe(208);
    expect(bench.realloc(moved, 1)).toBe(moved);
    bench.free(moved);
  });

  test('answers null without memory, leaves a block that was to grow as it is, and makes no room for one that shrinks', () => {
    const ptr = bench.malloc(1000);
    bench.refuses = true;
    expect(codeOf(() => bench.malloc(5000))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(codeOf(() => bench.realloc(ptr, 5000))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(codeOf(() => bench.realloc(ptr, 100))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(bench.slabs.usage()).toMatchObject({ slabs: 1, liveCells: 1 });
    bench.refuses = false;
    bench.free(ptr);
  });

  test('uses cells that were freed before it asks for a slab, in whatever order', () => {
    const cells = fill(64, 2000);
    const before = slabs();
    for (const ptr of cells.filter((_, i) => i % 3 === 0)) bench.free(ptr);
    const again = fill(64, 667);
    expect(slabs()).toBe(before);
    expect(new Set([...cells.filter((_, i) => i % 3 > 0), ...again]).size).toBe(2000);
    for (const ptr of [...cells.filter((_, i) => i % 3 > 0), ...again]) bench.free(ptr);
  });

  test('gives slabs back with their last cell, but for one of each size, and that when no cell at all lives', () => {
    const other = bench.malloc(16);
    const cells = fill(1000, 100);
    expect(slabs()).toBeGreaterThan(5);
    for (const ptr of cells) bench.free(ptr);
    expect(slabs()).toBe(2);
    // Around the edge of a slab nothing is given back and asked for.
    const requests = bench.device.liveBytes;
    for (let i = 0; i < 10; i++) bench.free(bench.malloc(1000));
    expect(bench.device.liveBytes).toBe(requests);
    bench.free(other);
    expect(slabs()).toBe(0);
  });

  test('trim gives back what is kept, and only that', () => {
    const cell = bench.malloc(16);
    bench.free(bench.malloc(1000));
    expect(slabs()).toBe(2);
    expect([bench.slabs.trim(), bench.slabs.trim()]).toEqual([1, 0]);
    const again = bench.malloc(16);
    bench.free(cell);
    bench.free(again);
  });

  test('after retire no slab of before serves, and each goes with its last cell', () => {
    const [first, second, third] = [bench.malloc(100), bench.malloc(100), bench.malloc(3000)];
    bench.free(bench.malloc(500));
    bench.slabs.retire();
    expect(slabs()).toBe(2);
    bench.free(first);
    const fresh = bench.malloc(100);
    expect(fresh).not.toBe(first);
    expect(slabs()).toBe(3);
    bench.free(second);
    expect(slabs()).toBe(2);
    bench.free(third);
    expect(slabs()).toBe(1);
    bench.free(fresh);
  });

  test('a slab whose manager is replaced while it is made serves nothing, and the next manager is asked', () => {
    const other = bench.malloc(16);
    let asked = 0;
    bench.onAlloc = () => {
      if (++asked === 1) bench.slabs.retire();
    };
    const cells = fill(1000, 3);
    expect([asked, slabs()]).toEqual([2, 2]);
    // A slab of the manager that stays serves, and serves again.
    bench.free(cells[0]!);
    expect(bench.malloc(1000)).toBe(cells[0]);
    for (const ptr of [...cells, other]) bench.free(ptr);
  });

  test('a slab serves the one allocation that it was made for where each manager is replaced while it is asked', () => {
    const other = bench.malloc(16);
    bench.onAlloc = () => bench.slabs.retire();
    const cells = fill(1000, 5);
    expect(slabs()).toBe(6);
    bench.onAlloc = () => {};
    const fresh = bench.malloc(1000);
    expect(slabs()).toBe(7);
    for (const ptr of cells) bench.free(ptr);
    // With its only cell each has gone back; none is kept.
    expect(slabs()).toBe(2);
    for (const ptr of [fresh, other]) bench.free(ptr);
  });

  test('each slab goes back once, also when the source trims or allocates while it takes one', () => {
    const other = bench.malloc(16);
    const sizes = [100, 1000, 3000, 5000];
    for (const bytes of sizes) bench.free(bench.malloc(bytes));
    const during: number[] = [];
    let frees = 0;
    bench.onFree = () => {
      if (++frees === 1) during.push(bench.malloc(5000), bench.malloc(200));
      else if (frees === 2) bench.slabs.trim();
    };
    bench.slabs.trim();
    // One of 16 bytes, one of 200 and one of 5000 have live cells.
    expect([frees, slabs()]).toEqual([3, 3]);
    for (const ptr of [...during, other]) bench.free(ptr);
  });

  test.each<[string, (bench: SlabBench) => unknown]>([
    ['trim', ({ slabs }) => slabs.trim()],
    ['retire', ({ slabs }) => slabs.retire()],
    ['emptied', ({ slabs }) => slabs.emptied(2)],
    ['refill', ({ slabs }) => slabs.refill(20)],
  ])('leaves the lock free, and forgets no slab, where the stack ends in %s', (_, work) => {
    const other = bench.malloc(16);
    const words = wordsOf(bench.slabs);
    let held = 0;
    const action = () => {
      held += words[0]!;
      // Whoever waits for a lock that nobody has would wait for ever.
      words[0] = 0;
      work(bench);
    };
    // V8 compiles what it calls first, and takes more stack for that.
    for (let i = 0; i < 3; i++) {
      bench.free(bench.malloc(1000));
      action();
      bench.slabs.trim();
    }
    let overflown = 0;
    for (let args = 0; args < 40; args++) {
      const kept = [bench.malloc(100), bench.malloc(5000)];
      bench.free(bench.malloc(1000));
      overflown += inLastFrames(100, args, action);
      held += words[0]!;
      words[0] = 0;
      kept.push(bench.malloc(1000), bench.malloc(100));
      for (const ptr of kept) bench.free(ptr);
      bench.slabs.trim();
      for (const ptr of bench.keptByDevice.splice(0)) bench.device.nativeFree(ptr);
      expect([held, slabs(), bench.slabs.usage().liveCells]).toEqual([0, 1, 1]);
    }
    expect(overflown).toBeGreaterThan(100);
    bench.free(other);
  });

  test('tells JavaScript of a second free, which knows the cell as free', () => {
    const [ptr, other] = [bench.malloc(100), bench.malloc(100)];
    bench.free(ptr);
    bench.free(ptr);
    expect(bench.calls).toEqual([['free', ptr]]);
    expect([bench.slabs.isFree(ptr), bench.slabs.isFree(other)]).toEqual([true, false]);
    expect(bench.slabs.usage().liveCells).toBe(1);
    bench.free(other);
  });

  test('says when slabs could not be given back, after it has tried all of them', () => {
    const cells = [bench.malloc(100), bench.malloc(1000), bench.malloc(5000)];
    bench.freeFails = true;
    bench.free(cells[0]!);
    bench.free(cells[1]!);
    expect(codeOf(() => bench.free(cells[2]!))).toBe('ERR_MEM_NATIVE');
  });

  test('grows by an eighth: slabs of a size become large, not many', () => {
    const cells = fill(4000, 3000);
    const { slabs: count, slabBytes } = bench.slabs.usage();
    expect(count).toBeLessThan(80);
    expect(slabBytes).toBeLessThan(3000 * (bench.size(cells[0]!) + 16) * 1.13);
    for (const ptr of cells) bench.free(ptr);
  });
}
