import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PyTorchMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';
import { bench } from './pytorch-bench.js';

describe('PyTorchMemoryManager', () => {
  describe('rounds a request up', () => {
    test.each([
      ['', 1, 512],
      ['', 512 * KiB + 1, 512 * KiB + 512],
      ['roundup_power2_divisions:4', 1200 * KiB, 1280 * KiB],
      ['roundup_power2_divisions:4', 1024, 1024],
      ['roundup_power2_divisions:4', 2049, 2560],
      ['roundup_power2_divisions:4', 1025, 1536],
      ['roundup_power2_divisions:[1:8,2:1,>:4]', 5 * MiB + 1, 6 * MiB],
      ['roundup_power2_divisions:[1:8,2:1,>:4]', 3 * MiB + 1, 3 * MiB + 512],
    ])('%j: %d bytes to %d', (conf, requested, bytes) => {
      const { manager } = bench({ conf });
      expect(manager.allocated(manager.allocBytes(requested, true))).toBe(bytes);
    });
  });

  test('leaves what is left of a large block with it up to 1 MiB, and cuts more off', () => {
    const { manager, alloc } = bench();
    const sizes = [18, 1.5].map((size) => manager.allocated(alloc(size)) / MiB);
    expect(sizes).toEqual([18, 1.5]);
    const whole = bench();
    expect(whole.manager.allocated(whole.alloc(11)) / MiB).toBe(12);
  });

  test('takes segments of the configured size for large blocks below 10 MiB alone', () => {
    const { alloc, calls } = bench({ conf: 'large_segment_size_mb:64' });
    for (const size of [0.5, 10, 33, 2, 9]) alloc(size);
    expect(calls()).toBe('+2 +10 +34 +64');
  });

  describe('with a largest size to cut', () => {
    const conf = 'max_split_size_mb:32,max_non_split_rounding_mb:20';

    test('leaves larger blocks whole, and to requests that are as large', () => {
      const { alloc, free, calls, manager } = bench({ conf });
      const large = alloc(64);
      free(large);
      alloc(30);
      expect(calls()).toBe('+64 +30');
      // Too large by the rounding that is allowed.
      alloc(44);
      expect(calls()).toBe('+44');
      expect(alloc(45)).toBe(large);
      expect([calls(), manager.allocated(large) / MiB]).toEqual(['', 64]);
    });

    test('gives back one cached block that is large enough before all others', () => {
      const { alloc, free, calls } = bench({ conf, memoryLimitBytes: 200 * MiB });
      const [small, large, larger] = [alloc(2), alloc(60), alloc(100)];
      free(small, large, larger);
      calls();
      alloc(36);
      expect(calls()).toBe('-60 +36');
    });

    test('gives back the largest cached blocks until there is enough, where none is large enough', () => {
      const { alloc, free, calls } = bench({ conf, memoryLimitBytes: 200 * MiB });
      free(...[alloc(40), alloc(50), alloc(60), alloc(2)]);
      calls();
      alloc(110);
      expect(calls()).toBe('-60 -50 +110');
    });

    test.each([
      // What is left of a segment is as large as a block that is not cut.
      [
        'segments are larger',
        { maxSplitSizeBytes: 32 * MiB, largeSegmentSizeBytes: 128 * MiB },
        { mebibytes: 5, alignment: 0 },
        '+128 +150',
      ],
      ['a block was cut for its alignment', { maxSplitSizeBytes: 32 * MiB }, { mebibytes: 62, alignment: 64 * MiB }, '+126 +150'],
    ])('gives back whole segments alone, where %s', (_, conf, { mebibytes, alignment }, expected) => {
      const { alloc, free, calls, manager } = bench({ conf, memoryLimitBytes: 300 * MiB });
      const held = manager.allocBytes(mebibytes * MiB, true, alignment);
      expect(() => alloc(200)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      const other = alloc(150);
      expect(calls()).toBe(expected);
      manager.checkInvariants();
      free(held, other);
      manager.shutdown();
      expect(calls().split(' ').sort()).toEqual(expected.replaceAll('+', '-').split(' ').sort());
    });

    test('keeps a segment that a native free before has cut', () => {
      const { alloc, free, calls, table, manager } = bench({ conf, memoryLimitBytes: 200 * MiB });
      free(...[alloc(40), alloc(50), alloc(60)]);
      const { nativeFree } = table;
      let live: DevicePtr | undefined;
      table.nativeFree = (ptr) => {
        nativeFree(ptr);
        live ??= alloc(50);
      };
      calls();
      alloc(85);
      expect(calls()).toBe('-60 -40 +86');
      expect(manager.allocated(live!)).toBe(50 * MiB);
      manager.checkInvariants();
    });
  });

  test('gives all cached segments back and asks once more, before it is out of memory', () => {
    const { alloc, free, calls, manager } = bench({}, 100 * MiB);
    const [live, first, second] = [alloc(40), alloc(20), alloc(0.5)];
    free(first, second);
    calls();
    alloc(60);
    expect(calls()).toBe('-20 -2 +60');
    expect(() => alloc(1)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: MiB, segmentBytes: 2 * MiB }));
    expect(manager.stats()).toMatchObject({ retries: 2, ooms: 1 });
    expect(manager.allocated(live)).toBe(40 * MiB);
  });

  describe('under a limit', () => {
    test('reserves no more, and says what refused', () => {
      const { alloc, calls } = bench({ memoryLimitBytes: 50 * MiB });
      alloc(30);
      expect(() => alloc(2)).not.toThrow();
      const error = memoryError('ERR_MEM_OUT_OF_MEMORY', {
        quota: 'limited to 52428800 bytes (50.00 MiB)',
        capacityBytes: 50 * MiB,
      });
      expect(() => alloc(20)).toThrow(error);
      expect(() => alloc(20)).toThrow(/requested on device 0; .* reserved, limited to 52428800 bytes \(50\.00 MiB\)$/);
      expect(calls()).toBe('+30 +20');
    });

    test('has a share of the device as its limit where the configuration says so', () => {
      const { alloc } = bench({ conf: 'per_process_memory_fraction:0.5' }, 100 * MiB);
      alloc(50);
      expect(() => alloc(0.5)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { capacityBytes: 50 * MiB }));
    });

    test('gives back what was freed longest ago, once more than the share is reserved', () => {
      const { alloc, free, calls } = bench({ conf: 'garbage_collection_threshold:0.6', memoryLimitBytes: 200 * MiB });
      const old = alloc(40);
      free(old);
      const [kept, other] = [alloc(50), alloc(60)];
      free(kept);
      calls();
      alloc(70);
      expect(calls()).toBe('-40 +70');
      free(other);
    });

    test('keeps a segment that a native free inside of the collection has cut', () => {
      const { alloc, free, calls, table, manager } = bench({
        conf: 'garbage_collection_threshold:0.1',
        memoryLimitBytes: 200 * MiB,
      });
      free(...[alloc(40), alloc(40)]);
      const { nativeFree } = table;
      let live: DevicePtr | undefined;
      table.nativeFree = (ptr) => {
        nativeFree(ptr);
        if (live !== undefined) return;
        const front = alloc(15);
        live = alloc(15);
        free(front);
      };
      calls();
      alloc(70);
      expect(calls()).toBe('-40 +70');
      expect(manager.allocated(live!)).toBe(15 * MiB);
      manager.checkInvariants();
    });

    test('collects nothing by age without a limit', () => {
      const { alloc, free, calls } = bench({ conf: 'garbage_collection_threshold:0.1' });
      free(alloc(40));
      alloc(500);
      expect(calls()).toBe('+40 +500');
    });
  });

  describe('with expandable segments', () => {
    const conf = 'expandable_segments:True';

    test('maps pages of 2 MiB for small blocks and of 20 MiB for large ones, behind what is mapped', () => {
      const { alloc, calls, manager } = bench({ conf });
      const [small, next, large, behind] = [alloc(0.5), alloc(1), alloc(5), alloc(30)] as const;
      expect(calls()).toBe('+2 +20 +20');
      expect([next - small, behind - large]).toEqual([MiB / 2, 5 * MiB]);
      expect(manager.allocated(behind)).toBe(30 * MiB);
    });

    test('maps only what is missing behind a free block', () => {
      const { alloc, free, calls } = bench({ conf });
      free(alloc(30));
      calls();
      alloc(60);
      expect(calls()).toBe('+20');
    });

    test('unmaps whole free pages under pressure, also in the middle, and maps them again first', () => {
      const { alloc, free, calls } = bench({ conf, memoryLimitBytes: 100 * MiB });
      const [first, middle, last] = [alloc(20), alloc(40), alloc(20)];
      free(middle);
      calls();
      const stream = 1;
      alloc(20, stream);
      alloc(20, stream);
      expect(calls()).toBe('+20 -40 +20');
      free(first, last);
    });

    test('is refused where the device has no pages of that size', () => {
      const table = new MemoryManagerDeviceInterface();
      const manager = new PyTorchMemoryManager(1, table, { conf });
      expect(() => manager.initialize()).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'expandable segments' }));
      table.virtual = new SimulatedDevice({ virtual: { granularityBytes: 4 * MiB } }).virtual;
      expect(() => manager.initialize()).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM'));
    });
  });

  describe('keeps streams apart', () => {
    test('never gives a block of one stream to another', () => {
      const { alloc, free, calls } = bench();
      const ptr = alloc(30);
      free(ptr);
      expect(alloc(30, 1)).not.toBe(ptr);
      expect(calls()).toBe('+30 +30');
      expect(alloc(30)).toBe(ptr);
    });

    test('gives a block back to its stream once the others that used it are done', () => {
      const { alloc, free, manager, streams } = bench();
      const ptr = alloc(30);
      manager.recordStream(ptr, 1);
      streams.submit(1);
      free(ptr);
      expect(alloc(30)).not.toBe(ptr);
      streams.advance(1);
      expect(alloc(30)).toBe(ptr);
    });

    test('waits for the users of freed blocks before it is out of memory', () => {
      const { alloc, free, manager, streams, calls } = bench({}, 50 * MiB);
      const ptr = alloc(30);
      manager.recordStream(ptr, 1);
      streams.submit(1);
      free(ptr);
      alloc(40);
      expect([calls(), streams.pending(1)]).toEqual(['+30 -30 +40', 0]);
    });
  });
});
