import { describe, expect, test } from 'vitest';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { installed, memoryError, PlainManager, SeededRandom, TextSink } from '../core/fakes.js';
import { atLeast, same } from '../fixtures/same.js';
import { DEVICE_CASES, type DeviceCase, type Held, ManagerBench, type ManagerMaker } from './manager-bench.js';
import { describeReleases } from './release-suite.js';

/** More than any device has. */
const PEBIBYTE = 2 ** 50;
const SIZES = [1, 7, 64, 511, 512, 513, 4096, 100_000, MiB - 1, MiB, MiB + 1, 3 * MiB, 11 * MiB];
const ALIGNMENTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 64 * KiB, MiB, 2 * MiB, 4 * MiB];
const BAD_SIZES = [-1, -0.5, 0.5, 1024.25, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53, 2 ** 60];
const BAD_ALIGNMENTS = [-1, -64, 3, 48, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];

/**
 * Every contract stated on MemoryManagerAdapter, tried on every device: long, since it is one contract, read top to bottom.
 * A manager, a decorator or a stack of them is one line: `describeManager('LruMemoryManager', (n, table) => …)`.
 */
export function describeManager(name: string, make: ManagerMaker, deviceCases: readonly DeviceCase[] = DEVICE_CASES): void {
  const probe = new ManagerBench(make, deviceCases[0] as DeviceCase).manager;
  const hasStats = probe.stats(0) !== undefined;

  describe.each(deviceCases)(`${name} on $name`, (deviceCase) => {
    const bench = (capacityBytes?: number) => new ManagerBench(make, deviceCase, capacityBytes);

    describe('allocBytes', () => {
      test('gives null for 0 bytes without a native call', () => {
        const { manager, ...rest } = spread(bench());
        for (const userLock of [true, false]) expect(manager.allocBytes(0, userLock, 4096)).toBe(NULL_PTR);
        expect(rest.bench.nativeAllocs).toBe(0);
      });

      test('gives at least the bytes that were asked for, in native memory', () => {
        const b = bench();
        for (const bytes of SIZES) {
          const held = b.alloc(bytes);
          expect(b.manager.allocated(held.ptr)).toBeGreaterThanOrEqual(bytes);
          expect(b.holds(held.ptr, b.manager.allocated(held.ptr))).toBe(true);
        }
      });

      test('gives no two live blocks the same byte', () => {
        const b = bench();
        runProgram(b, deviceCase, { steps: 400, afterStep: (live) => expectDisjoint(b, live) });
      });

      test.each(ALIGNMENTS)('honours an alignment of %i bytes', (alignment) => {
        const b = bench();
        const random = new SeededRandom(alignment);
        const live: Held[] = [];
        for (let i = 0; i < (deviceCase.isWritten === true ? 6 : 24); i++) {
          const held = b.alloc(random.pick(SIZES), { alignment: random.below(3) === 0 ? 0 : alignment });
          const aligned = b.alloc(1 + random.below(200_000), { alignment });
          same([aligned.ptr % alignment], [0]);
          live.push(held, aligned);
          if (random.below(2) === 0) b.free(live.splice(random.below(live.length), 1)[0] as Held);
        }
        expectDisjoint(b, live);
        for (const held of live) b.free(held);
        b.manager.signalMemoryCleanup();
        expect(b.held).toBe(0);
      });

      test.each(BAD_SIZES)('refuses a size of %d and changes nothing', (bytes) => {
        const b = bench();
        const held = b.alloc(1000);
        const before = b.state();
        for (const userLock of [true, false]) {
          expect(() => b.manager.allocBytes(bytes, userLock)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
        }
        expectUnchanged(b, before, [held]);
      });

      test.each(BAD_ALIGNMENTS)('refuses an alignment of %d and changes nothing', (alignment) => {
        const b = bench();
        const held = b.alloc(1000);
        const before = b.state();
        expect(() => b.manager.allocBytes(64, true, alignment)).toThrow(
          memoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment }) as Error,
        );
        expectUnchanged(b, before, [held]);
      });

      test.each([PEBIBYTE, 2 ** 53 - 1])(
        'throws out of memory with the facts and changes nothing for %i bytes',
        (requestedBytes) => {
          const b = bench();
          const live = [b.alloc(1000), b.alloc(3 * MiB)];
          b.free(b.alloc(MiB));
          const before = b.state();
          const allocatedBytes = live.reduce((sum, held) => sum + b.manager.allocated(held.ptr), 0);
          const error = caught(() => b.manager.allocBytes(requestedBytes, true));
          expect(error).toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY' });
          const facts = (error as MemoryError<'ERR_MEM_OUT_OF_MEMORY'>).facts;
          expect(facts).toMatchObject({ requestedBytes, allocatedBytes, capacityBytes: b.device.getMaxMemorySize(0), device: 0 });
          expect(facts.reservedBytes).toBeGreaterThanOrEqual(allocatedBytes);
          expect(facts.reservedBytes).toBeLessThanOrEqual(facts.capacityBytes);
          expectUnchanged(b, before, live);
          b.free(b.alloc(5000));
        },
      );

      test('throws out of memory for a large size with a large alignment', () => {
        const b = bench();
        expect(() => b.manager.allocBytes(2 ** 53 - 1, true, 2 ** 52)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      });

      if (deviceCase.hasCapacity)
        test('gives cached memory back and serves when the device is full of it', () => {
          const b = bench(64 * MiB);
          const live = Array.from({ length: 16 }, (_, i) => b.alloc(MiB - i * 1000));
          for (const held of live) b.free(held);
          const large = b.alloc(60 * MiB);
          expect(b.holds(large.ptr, 60 * MiB)).toBe(true);
          expect(() => b.alloc(10 * MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
          b.free(large);
        });

      const refusals: [string, () => DevicePtr, string][] = [
        ['answers null', () => NULL_PTR, 'ERR_MEM_OUT_OF_MEMORY'],
        ['throws out of memory', () => raise(outOfMemory()), 'ERR_MEM_OUT_OF_MEMORY'],
        ['throws a plain error', () => raise(new Error('the driver is gone')), 'ERR_MEM_OUT_OF_MEMORY'],
        ['throws a MemoryError of another code', () => raise(nativeError()), 'ERR_MEM_NATIVE'],
      ];
      test.each(refusals)('changes nothing when the device %s', (_, refusal, code) => {
        const b = bench();
        const live = [b.alloc(1000), b.alloc(3 * MiB, { alignment: 4096 })];
        b.free(b.alloc(100_000));
        const before = b.state();
        b.refusal = refusal;
        for (const alignment of [0, 4 * MiB]) {
          expect(caught(() => b.manager.allocBytes(500 * MiB, true, alignment))).toMatchObject({ code });
        }
        b.refusal = undefined;
        expectUnchanged(b, before, live);
        for (const held of [...live, b.alloc(MiB)]) b.free(held);
        b.manager.shutdown();
        expect(b.held).toBe(0);
      });
    });

    describe('alloc', () => {
      test('allocates the product of dims and element size', () => {
        const { manager } = bench();
        const ptr = manager.alloc(false, [100, 30], 4);
        expect(manager.allocated(ptr)).toBeGreaterThanOrEqual(12_000);
        expect(manager.isUserLocked(ptr)).toBe(false);
        expect(manager.isUserLocked(manager.alloc(true, [3], 8))).toBe(true);
        expect(manager.alloc(true, [0, 5], 4)).toBe(NULL_PTR);
        expect(() => manager.alloc(true, [-1], 4)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      });
    });

    describe('unlock', () => {
      test('does nothing for null', () => {
        const b = bench();
        const held = b.alloc(100);
        const before = b.state();
        for (const userUnlock of [true, false]) b.manager.unlock(NULL_PTR, userUnlock);
        b.manager.userUnlock(NULL_PTR);
        expectUnchanged(b, before, [held]);
      });

      test.each([
        ['the manager', false],
        ['the user', true],
      ])('frees a block with both locks at the second one when %s unlocks first', (_, userFirst) => {
        const { manager, bench: b } = spread(bench());
        for (const userLock of [true, false]) {
          const ptr = manager.allocBytes(5000, userLock);
          // The user's lock is the only one that can be added.
          if (!userLock) manager.userLock(ptr);
          expect(manager.isUserLocked(ptr)).toBe(true);
          manager.unlock(ptr, userFirst);
          if (userLock && userFirst) expect(manager.allocated(ptr)).toBe(0);
          else {
            expect(manager.allocated(ptr)).toBeGreaterThanOrEqual(5000);
            expect(manager.isUserLocked(ptr)).toBe(!userFirst);
            manager.unlock(ptr, !userFirst || userLock);
            expect(manager.allocated(ptr)).toBe(0);
          }
          expect(manager.isUserLocked(ptr)).toBe(false);
        }
        manager.signalMemoryCleanup();
        expect(b.held).toBe(0);
      });

      test('frees nothing when the lock is not set', () => {
        const { manager } = bench();
        const users = manager.allocBytes(100, true);
        const managers = manager.allocBytes(100, false);
        manager.unlock(users, false);
        manager.userUnlock(managers);
        expect(manager.allocated(users)).toBeGreaterThanOrEqual(100);
        expect(manager.allocated(managers)).toBeGreaterThanOrEqual(100);
      });

      test('throws for pointers that head no block', () => {
        const b = bench();
        const held = b.alloc(100_000);
        const before = b.state();
        for (const pointer of unknownPointers(held)) {
          for (const userUnlock of [true, false]) {
            const error = memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer });
            expect(() => b.manager.unlock(pointer, userUnlock), String(pointer)).toThrow(error);
          }
        }
        expectUnchanged(b, before, [held]);
      });

      test('throws for a block that is free already', () => {
        for (const bytes of SIZES) {
          const b = bench();
          const neighbours = [b.alloc(bytes)];
          const held = b.alloc(bytes);
          neighbours.push(b.alloc(bytes));
          b.free(held);
          const before = b.state();
          const error = caught(() => b.manager.unlock(held.ptr, true));
          // Memory that went back to the device cannot be told from any other.
          const code = b.holds(held.ptr, 1) ? 'ERR_MEM_DOUBLE_FREE' : 'ERR_MEM_UNKNOWN_POINTER';
          expect(error).toMatchObject({ code, facts: { pointer: held.ptr } });
          expectUnchanged(b, before, neighbours);
        }
      });
    });

    describe('userLock', () => {
      test('keeps a block until the user unlocks, too', () => {
        const { manager } = bench();
        const ptr = manager.allocBytes(100, false);
        manager.userLock(ptr);
        manager.userLock(ptr);
        manager.unlock(ptr, false);
        expect(manager.allocated(ptr)).toBeGreaterThanOrEqual(100);
        manager.userUnlock(ptr);
        expect(manager.allocated(ptr)).toBe(0);
      });

      test('throws for pointers that head no live block', () => {
        const b = bench();
        const held = b.alloc(100_000);
        const freed = b.alloc(100_000);
        b.free(freed);
        for (const pointer of [freed.ptr, ...unknownPointers(held)]) {
          const error = memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer });
          expect(() => b.manager.userLock(pointer), String(pointer)).toThrow(error);
        }
        expect(b.manager.allocated(freed.ptr)).toBe(0);
      });
    });

    describe('allocated', () => {
      test('is 0 for pointers that head no live block, and they are not user-locked', () => {
        const b = bench();
        const held = b.alloc(100_000);
        const freed = b.alloc(100_000);
        b.free(freed);
        for (const ptr of [NULL_PTR, freed.ptr, ...unknownPointers(held)]) {
          expect(b.manager.allocated(ptr), String(ptr)).toBe(0);
          expect(b.manager.isUserLocked(ptr), String(ptr)).toBe(false);
        }
      });
    });

    describe('signalMemoryCleanup', () => {
      test('gives native memory back that no live block lies in', () => {
        const b = bench();
        const live = SIZES.map((bytes) => b.alloc(bytes));
        const kept = live.splice(4, 1)[0] as Held;
        for (const held of live) b.free(held);
        b.manager.signalMemoryCleanup();
        expect(b.held).toBe(1);
        expect(b.holds(kept.ptr, kept.bytes)).toBe(true);
        b.free(kept);
        b.manager.signalMemoryCleanup();
        b.manager.signalMemoryCleanup();
        expect(b.held).toBe(0);
      });
    });

    describeReleases(bench, deviceCase);

    describe('checkInvariants', () => {
      test('finds nothing wrong with what a cleanup leaves of many sizes', () => {
        const b = bench();
        for (let round = 0; round < 3; round++) {
          const live = Array.from({ length: 300 }, (_, i) => b.manager.allocBytes((i + 1) * (round + 1), true));
          for (const ptr of live) b.manager.unlock(ptr, true);
          b.manager.checkInvariants?.();
          b.manager.signalMemoryCleanup();
          b.manager.checkInvariants?.();
          expect(b.held).toBe(0);
        }
      });
    });

    describe('nativeFree that fails', () => {
      test('loses nothing: a later cleanup gives back what the device did not take', () => {
        const b = bench();
        const live = SIZES.map((bytes) => b.alloc(bytes));
        const { nativeFree } = b.table;
        let calls = 0;
        // Each call fails the first time, whether it comes from an unlock or from a cleanup.
        b.table.nativeFree = (ptr) => {
          if (++calls % 2 === 1) throw new Error('the driver is gone');
          nativeFree(ptr);
        };
        for (const held of live) {
          for (let tries = 0; tries < 100 && failed(() => b.free(held)); tries++) {
            b.manager.checkInvariants?.();
            expect(b.manager.allocated(held.ptr)).toBeGreaterThanOrEqual(held.bytes);
          }
          expect(b.manager.allocated(held.ptr)).toBe(0);
        }
        for (let tries = 0; tries < 100 && failed(() => b.manager.signalMemoryCleanup()); tries++) b.manager.checkInvariants?.();
        expect([b.held, b.device.liveBytes]).toEqual([0, 0]);
      });
    });

    describe('shutdown', () => {
      test('leaves no native memory after a program that freed everything', () => {
        const b = bench();
        runProgram(b, deviceCase, { steps: 500 });
        b.manager.shutdown();
        expect(b.nativeFrees).toBe(b.nativeAllocs);
        expect([b.held, b.device.liveBytes]).toEqual([0, 0]);
      });
    });

    if (deviceCase.deviceCount > 1)
      test('frees on the device that a block is on, whichever is active', () => {
        const b = bench();
        const live = [0, 1, 2].map((id) => {
          b.device.activate(id);
          return b.alloc(3 * MiB);
        });
        for (const held of live) {
          b.device.activate((held.device + 1) % 3);
          b.manager.unlock(NULL_PTR, true);
          b.free(held);
          expect(b.manager.allocated(held.ptr)).toBe(0);
        }
        for (const { device, ptr } of live) {
          b.device.activate(device);
          const again = b.alloc(3 * MiB);
          // Addresses of simulated devices lie 2^44 apart.
          expect(Math.floor(again.ptr / 2 ** 44)).toBe(Math.floor(ptr / 2 ** 44));
          if (hasStats) expect(b.manager.stats(device)?.blocks).toEqual({ current: 1, peak: 1, total: 2 });
          b.free(again);
        }
        b.manager.shutdown();
        expect(b.held).toBe(0);
      });

    if (deviceCase.deviceCount > 1)
      test('does nothing for null when a device is active that is not managed', () => {
        const b = new ManagerBench((_, table) => make(1, table), deviceCase);
        b.device.activate(2);
        b.manager.unlock(NULL_PTR, true);
        expect(b.manager.allocated(NULL_PTR)).toBe(0);
      });

    if (hasStats)
      describe('removeMemoryManagement', () => {
        test('throws while blocks of the device are live, and changes nothing', () => {
          const b = bench();
          const held = b.alloc(1000);
          const before = b.state();
          expect(() => b.manager.removeMemoryManagement(0)).toThrow(
            memoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks: 1 }) as Error,
          );
          expectUnchanged(b, before, [held]);
        });

        test('gives the memory of the device back and refuses allocations until it is added again', () => {
          const b = bench();
          b.free(b.alloc(3 * MiB));
          b.manager.removeMemoryManagement(0);
          b.manager.removeMemoryManagement(0);
          expect(b.held).toBe(0);
          expect(() => b.alloc(1)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE', { device: 0 }));
          b.manager.addMemoryManagement(0);
          b.free(b.alloc(1000));
          b.manager.addMemoryManagement(0);
          expect(b.manager.stats(0)?.blocks.total).toBe(1);
        });

        test('adds devices beyond the first ones', () => {
          const b = bench();
          b.manager.addMemoryManagement(7);
          expect(b.manager.stats(7)?.reservedBytes.current).toBe(0);
          for (const device of [-1, 0.5, Number.NaN]) {
            expect(() => b.manager.addMemoryManagement(device)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE', { device }));
          }
          expect(() => b.manager.stats(9)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE', { device: 9 }));
        });
      });

    if (hasStats)
      test('keeps its statistics in order', () => {
        const b = bench();
        let lastTotal = 0;
        runProgram(b, deviceCase, {
          steps: 300,
          afterStep: (live) => {
            for (let id = 0; id < deviceCase.deviceCount; id++) {
              const stats = b.manager.stats(id)!;
              const { requestedBytes, allocatedBytes, activeBytes, reservedBytes, cachedBytes, blocks } = stats;
              const here = live.filter((held) => held.device === id);
              const all = [requestedBytes, allocatedBytes, activeBytes, reservedBytes, cachedBytes, blocks];
              const order = [requestedBytes, allocatedBytes, activeBytes, reservedBytes].map((stat) => stat.current);
              const facts = {
                requested: requestedBytes.current === here.reduce((sum, held) => sum + held.bytes, 0),
                allocated: allocatedBytes.current === here.reduce((sum, held) => sum + b.manager.allocated(held.ptr), 0),
                blocks: blocks.current === here.length,
                'requested <= allocated <= active <= reserved': order.every((bytes, i) => i === 0 || order[i - 1]! <= bytes),
                cached: cachedBytes.current === reservedBytes.current - activeBytes.current,
                'current <= peak <= total': all.every((stat) => stat.current <= stat.peak && stat.peak <= stat.total),
                hits: stats.hits >= 0 && stats.hits <= blocks.total,
              };
              // One assertion for all: each takes longer than the step that it looks at.
              const wrong = Object.entries(facts).filter(([, holds]) => !holds);
              if (wrong.length > 0) expect(wrong, `device ${id}: ${JSON.stringify(stats)}`).toEqual([]);
            }
            const total = b.manager.stats(0)!.blocks.total;
            atLeast(total, lastTotal);
            lastTotal = total;
          },
        });
        expect(lastTotal).toBeGreaterThan(0);
      });

    if (deviceCase.hasBytes)
      test('leaves the first and last byte of live blocks as they were written', () => {
        const b = bench();
        const bytesAt = (ptr: number) => b.device.view(ptr as DevicePtr, 1);
        const mark = (held: Held) => (held.ptr / 64 + held.bytes) & 0xff;
        const verify = (held: Held) => {
          same([bytesAt(held.ptr)[0]!], [mark(held)]);
          if (held.bytes > 1) same([bytesAt(held.ptr + held.bytes - 1)[0]!], [~mark(held) & 0xff]);
        };
        runProgram(b, deviceCase, {
          steps: 400,
          afterAlloc: (held) => {
            bytesAt(held.ptr)[0] = mark(held);
            if (held.bytes > 1) bytesAt(held.ptr + held.bytes - 1)[0] = ~mark(held);
          },
          beforeFree: verify,
          afterCleanup: (live) => live.forEach(verify),
        });
      });

    describe('printInfo', () => {
      test('writes the message, its name and the device to the sink', () => {
        const b = bench();
        const sink = new TextSink();
        b.manager.printInfo('before the epoch', 0, sink);
        expect(sink.lines[0]).toBe('before the epoch');
        expect(sink.text).toContain(`Type: ${b.manager.name}\n`);
        expect(sink.text).toContain('Device: 0');
        expect(sink.text.endsWith('\n')).toBe(true);
      });
    });

    describe('setLoggingEnabled', () => {
      test('throws without a sink: logging is off by default', () => {
        const { manager } = bench();
        expect(manager.callLog.enabled).toBe(false);
        expect(manager.getLogStream()).toBeUndefined();
        expect(() => manager.setLoggingEnabled(true)).toThrow(memoryError('ERR_MEM_NO_LOG_STREAM', { manager: manager.name }));
      });

      test('is on from the start when a log stream is given', () => {
        const sink = new TextSink();
        const manager = make(1, new MemoryManagerDeviceInterface(), { logStream: sink });
        expect(manager.callLog.enabled).toBe(true);
        expect(manager.getLogStream()).toBe(sink);
      });
    });

    describe('in a slot', () => {
      test('drains after a swap, is shut down with its last block, and gives everything back', () => {
        const device = deviceCase.make();
        const runtime = new MemoryRuntime(device, { exitReport: false });
        const manager = installed(make(deviceCase.deviceCount, new MemoryManagerDeviceInterface()), runtime);
        const ptrs = SIZES.map((bytes) => runtime.slot.alloc(bytes, true));
        installed(new PlainManager(), runtime);
        expect(manager.lifecycle.state).toBe('draining');
        for (const ptr of ptrs) {
          expect(manager.lifecycle.state).toBe('draining');
          runtime.slot.unlock(ptr, true);
        }
        expect(manager.lifecycle.state).toBe('stopped');
        expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
        expect(runtime.slot.reservedBytes).toBe(0);
        runtime.close();
      });

      test('gives everything back when the slot closes with live blocks', () => {
        const device = deviceCase.make();
        const runtime = new MemoryRuntime(device, { exitReport: false });
        installed(make(deviceCase.deviceCount, new MemoryManagerDeviceInterface()), runtime);
        for (const bytes of SIZES) runtime.slot.alloc(bytes, true);
        expect(runtime.slot.reservedBytes).toBeGreaterThan(0);
        runtime.close();
        expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
        expect(device.liveBytes).toBe(0);
      });
    });
  });
}

function spread(bench: ManagerBench): { bench: ManagerBench; manager: ManagerBench['manager'] } {
  return { bench, manager: bench.manager };
}

/** What a program does beside allocating and freeing. */
interface ProgramHooks {
  readonly steps: number;
  readonly afterStep?: (live: readonly Held[]) => void;
  readonly afterAlloc?: (held: Held) => void;
  readonly beforeFree?: (held: Held) => void;
  readonly afterCleanup?: (live: readonly Held[]) => void;
}

/** Allocates and frees as a program would, the same in every run, on all devices; frees everything at the end. */
function runProgram(bench: ManagerBench, deviceCase: DeviceCase, hooks: ProgramHooks): void {
  const random = new SeededRandom(20_260_801);
  const live: Held[] = [];
  const freeOne = () => {
    const held = live.splice(random.below(live.length), 1)[0] as Held;
    hooks.beforeFree?.(held);
    bench.free(held);
  };
  for (let step = 0; step < hooks.steps; step++) {
    const action = random.below(100);
    if (action < 3) {
      bench.manager.signalMemoryCleanup();
      hooks.afterCleanup?.(live);
    } else if (action < 10) bench.device.activate(random.below(deviceCase.deviceCount));
    else if (action < 10 + Math.min(live.length, 60)) freeOne();
    else {
      const held = bench.alloc(skewedSize(random, deviceCase.isWritten === true ? 2 * MiB : 24 * MiB), {
        alignment: random.below(4) === 0 ? random.pick(ALIGNMENTS.slice(0, 12)) : 0,
      });
      hooks.afterAlloc?.(held);
      live.push(held);
    }
    hooks.afterStep?.(live);
  }
  while (live.length > 0) freeOne();
}

function skewedSize(random: SeededRandom, mostBytes: number): number {
  const kind = random.below(10);
  if (kind < 6) return 1 + random.below(4096);
  return kind < 9 ? 1 + random.below(300_000) : 1 + random.below(mostBytes);
}

function expectDisjoint(bench: ManagerBench, live: readonly Held[]): void {
  let last = 0;
  for (const { ptr, bytes } of live.toSorted((a, b) => a.ptr - b.ptr)) {
    if (ptr < last) expect.fail(`block ${ptr} begins before the end of another, ${last}`);
    last = ptr + bench.manager.allocated(ptr);
    if (last < ptr + bytes) expect.fail(`block ${ptr} of ${bytes} bytes ends at ${last}`);
    if (!bench.holds(ptr, last - ptr)) expect.fail(`block ${ptr} does not lie in native memory`);
  }
}

function expectUnchanged(bench: ManagerBench, before: unknown, live: readonly Held[]): void {
  bench.manager.checkInvariants?.();
  expect(bench.state()).toEqual(before);
  for (const { ptr, bytes } of live) {
    atLeast(bench.manager.allocated(ptr), bytes);
    if (!bench.manager.isUserLocked(ptr)) expect.fail(`block ${ptr} is not locked by the user`);
    if (!bench.holds(ptr, bytes)) expect.fail(`block ${ptr} does not lie in native memory`);
  }
}

/** Pointers near a block that head none, and numbers that are no addresses. */
function unknownPointers({ ptr }: Held): DevicePtr[] {
  // Above 2^52 half a byte on is the same number.
  const near = [ptr + 1, ptr + 64, ptr + 512, ptr - 512, ptr + 0.5, ptr + 2 ** 40].filter((pointer) => pointer !== ptr);
  return [...near, 1, 12_345, 2 ** 53 - 1, 2 ** 60, -1, -ptr, 0.5, Number.NaN, Number.POSITIVE_INFINITY] as DevicePtr[];
}

function failed(action: () => void): boolean {
  try {
    action();
    return false;
  } catch {
    return true;
  }
}

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.fail('nothing was thrown');
}

function raise(error: Error): never {
  throw error;
}

function outOfMemory(): MemoryError {
  const facts = { requestedBytes: 1, allocatedBytes: 2, reservedBytes: 3, capacityBytes: 4, device: 5 };
  return new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts);
}

function nativeError(): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName: 'cudaMalloc', status: 700, statusName: 'illegal address' });
}
