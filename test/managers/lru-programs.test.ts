import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { LruMemoryManager } from '../../managers/index.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB } from '../../src/core/units.js';
import { ManagerBench, SIMULATED } from '../conformance/manager-bench.js';

/** A live block in the model: who holds it. */
interface Model {
  user: boolean;
  manager: boolean;
  references: number;
  readonly bytes: number;
}

const action = fc.record({
  kind: fc.constantFrom(
    'alloc',
    'alloc',
    'allocate',
    'batch',
    'insert',
    'lock',
    'unlock',
    'unlock',
    'increment',
    'decrement',
    'decrement',
    'clean',
    'capacity',
    'fail',
  ),
  bytes: fc.constantFrom(64, 100, 1000, 4 * KiB, 5 * KiB),
  alignment: fc.constantFrom(0, 64, 4096),
  flag: fc.boolean(),
  pick: fc.nat(1000),
});

describe('LruMemoryManager', () => {
  test('holds blocks exactly while a lock or a reference does, in random programs', () => {
    const settings = fc.record({ layouts: fc.integer({ min: 0, max: 4 }), kibibytes: fc.integer({ min: 0, max: 20 }) });
    fc.assert(
      fc.property(settings, fc.array(action, { maxLength: 120 }), ({ layouts, kibibytes }, actions) => {
        const options = { capacityLayouts: layouts, capacityBytes: kibibytes * KiB };
        const bench = new ManagerBench((count, table) => new LruMemoryManager(count, table, options), SIMULATED, 64 * KiB);
        const manager = bench.manager as LruMemoryManager;
        const device = bench.device as SimulatedDevice;
        const live = new Map<DevicePtr, Model>();
        const drop = (ptr: DevicePtr, block: Model) => {
          if (!block.user && !block.manager && block.references === 0) live.delete(ptr);
        };
        for (const { kind, bytes, alignment, flag, pick } of actions) {
          const [ptr, block] = [...live][pick % (live.size || 1)] ?? [];
          const layout = { size: bytes, align: alignment };
          try {
            if (kind === 'alloc') {
              live.set(manager.allocBytes(bytes, flag, alignment), { user: flag, manager: !flag, references: 0, bytes });
            } else if (kind === 'allocate') {
              live.set(manager.allocate(layout), { user: false, manager: false, references: 1, bytes });
            } else if (kind === 'batch') {
              for (const made of manager.allocateBatch([bytes, bytes, bytes], { alignment })) {
                live.set(made, { user: false, manager: false, references: 1, bytes });
              }
            } else if (kind === 'insert') {
              const made = bench.table.nativeAlloc(bytes, alignment || 64);
              if (made === 0) continue;
              manager.insertPtr(made, layout, flag ? { release: (foreign) => bench.table.nativeFree(foreign) } : {});
              live.set(made, { user: false, manager: false, references: 1, bytes });
            } else if (kind === 'capacity') {
              if (flag) manager.setCapacityLayouts(pick % 5);
              else manager.setCapacityBytes((pick % 20) * KiB);
            } else if (kind === 'clean') manager.clear();
            else if (kind === 'fail') device.failNext(1 + (pick % 3));
            else if (ptr === undefined || block === undefined) continue;
            else if (kind === 'lock') {
              manager.userLock(ptr);
              block.user = true;
            } else if (kind === 'unlock') {
              manager.unlock(ptr, flag);
              if (flag) block.user = false;
              else block.manager = false;
              drop(ptr, block);
            } else if (kind === 'increment') {
              manager.incrementRef(ptr);
              block.references++;
            } else {
              const wasFreed = manager.decrementRef(ptr);
              block.references--;
              drop(ptr, block);
              expect(wasFreed).toBe(!live.has(ptr));
            }
          } catch (error) {
            const expected = kind === 'decrement' ? 'ERR_MEM_INVALID_ARGUMENT' : 'ERR_MEM_OUT_OF_MEMORY';
            if (!MemoryError.is(error, expected)) throw error;
            if (kind === 'decrement') expect(block?.references).toBe(0);
          }
          manager.checkInvariants();
          for (const [held, model] of live) {
            expect(manager.allocated(held)).toBe(model.bytes);
            expect(manager.isUserLocked(held)).toBe(model.user);
            expect(manager.references(held)).toBe(model.references);
          }
          expect(manager.stats(0).blocks.current).toBe(live.size);
          expect(manager.stats(0).reservedBytes.current).toBe(device.liveBytes);
        }
        for (const [ptr, block] of live) {
          if (block.user) manager.unlock(ptr, true);
          if (block.manager) manager.unlock(ptr, false);
          for (; block.references > 0; block.references--) manager.decrementRef(ptr);
        }
        manager.shutdown();
        expect(bench.held).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});
