import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PyTorchMemoryManager, type PyTorchMemoryManagerOptions } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';

/** A manager over a simulated device that notes each call for memory: `+20` MiB got, `-20` given back. */
function bench(options: PyTorchMemoryManagerOptions = {}, capacityBytes = GiB) {
  const device = new SimulatedDevice({ capacityBytes, streams: true, virtual: { granularityBytes: 2 * MiB } });
  const table = new MemoryManagerDeviceInterface();
  const calls: string[] = [];
  const sizes = new Map<DevicePtr, number>();
  const note = (sign: string, bytes: number) => calls.push(`${sign}${bytes / MiB}`);
  table.deviceCount = 1;
  table.getActiveDeviceId = () => 0;
  table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
  table.nativeAlloc = (bytes, alignment) => {
    const ptr = device.nativeAlloc(bytes, alignment);
    sizes.set(ptr, bytes);
    if (ptr !== 0) note('+', bytes);
    return ptr;
  };
  table.nativeFree = (ptr) => {
    device.nativeFree(ptr);
    note('-', sizes.get(ptr)!);
  };
  const virtual = device.virtual!;
  table.virtual = {
    granularityBytes: virtual.granularityBytes,
    reserve: (bytes) => virtual.reserve(bytes),
    release: (ptr, bytes) => virtual.release(ptr, bytes),
    commit: (ptr, bytes) => {
      const isDone = virtual.commit(ptr, bytes);
      if (isDone) note('+', bytes);
      return isDone;
    },
    decommit: (ptr, bytes) => {
      virtual.decommit(ptr, bytes);
      note('-', bytes);
    },
  };
  table.streams = device.streams;
  const manager = new PyTorchMemoryManager(1, table, options);
  manager.initialize();
  const alloc = (mebibytes: number, stream = 0) => manager.allocBytes(mebibytes * MiB, true, 0, stream);
  const free = (...ptrs: DevicePtr[]) => {
    for (const ptr of ptrs) manager.unlock(ptr, true);
  };
  return { device, table, streams: device.streams!, manager, alloc, free, calls: () => calls.splice(0).join(' ') };
}

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

  describe('private pools', () => {
    test('have memory of their own, kept until they are released', () => {
      const { alloc, free, manager, calls } = bench();
      const ordinary = alloc(30);
      manager.usePool(7);
      const own = alloc(30);
      manager.usePool(0);
      free(ordinary, own);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('+30 +30 -30');
      manager.usePool(7);
      expect(alloc(30)).toBe(own);
      free(own);
      manager.usePool(0);
      manager.releasePool(7);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('-30');
    });

    test.each(['', 'expandable_segments:True'])('that are released and empty leave nothing behind, with %j', (conf) => {
      const { manager, alloc, free, device } = bench({ conf });
      const once = (pool: number) => {
        manager.usePool(pool);
        const blocks = [alloc(5), alloc(0.5)];
        free(...blocks);
        manager.usePool(0);
        manager.releasePool(pool);
      };
      manager.usePool(1);
      const kept = alloc(5);
      manager.usePool(0);
      manager.releasePool(1);
      for (let pool = 2; pool < 20; pool++) once(pool);
      manager.signalMemoryCleanup();
      once(20);
      const before = manager.metadataBytes;
      for (let pool = 21; pool < 200; pool++) {
        once(pool);
        manager.signalMemoryCleanup();
      }
      expect(manager.metadataBytes).toBe(before);
      expect(manager.allocated(kept)).toBe(5 * MiB);
      free(kept);
      manager.checkInvariants();
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
    });

    test('go back at the end, released or not', () => {
      const { alloc, free, manager, device } = bench();
      manager.usePool(1);
      free(alloc(30));
      manager.shutdown();
      expect(device.liveBytes).toBe(0);
    });

    test.each([-1, 0.5, Number.NaN])('are integers: not %d', (pool) => {
      const { manager } = bench();
      expect(() => manager.usePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      expect(() => manager.releasePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
    });

    test.each([0, 7])('cannot be released unless they were used: not %d', (pool) => {
      const { manager } = bench();
      manager.usePool(1);
      manager.usePool(0);
      expect(() => manager.releasePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      expect(() => manager.releasePool(1)).not.toThrow();
    });

    test('keep their live blocks when they are released, which is done once, until those are freed', () => {
      const { alloc, free, manager, calls } = bench();
      manager.usePool(1);
      const live = alloc(30);
      manager.usePool(0);
      manager.releasePool(1);
      expect(() => manager.releasePool(1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      manager.signalMemoryCleanup();
      expect([calls(), manager.stats().allocatedBytes.current]).toEqual(['+30', 30 * MiB]);
      free(live);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('-30');
    });

    test('cannot be released while they are in use', () => {
      const { manager } = bench();
      manager.usePool(3);
      expect(() => manager.releasePool(3)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    });
  });

  describe('restores a segment of a snapshot', () => {
    const blocks = [
      { offsetBytes: 2 * MiB, bytes: 3 * MiB, requestedBytes: 3 * MiB - 7 },
      { offsetBytes: 5 * MiB, bytes: 4 * MiB, requestedBytes: 4 * MiB },
    ];

    test.each(['', 'expandable_segments:True'])('with its live blocks, and what lies between them cached: %j', (conf) => {
      const { manager, alloc, free, device, calls } = bench({ conf });
      const address = device.nativeAlloc(20 * MiB);
      const segment = { pool: 0, stream: 0, isSmall: false, address, bytes: 20 * MiB, blocks };
      const [first, second] = manager.restoreSegment(segment) as [DevicePtr, DevicePtr];
      manager.checkInvariants();
      expect(second - first).toBe(3 * MiB);
      expect(manager.stats()).toMatchObject({
        requestedBytes: { current: 7 * MiB - 7 },
        allocatedBytes: { current: 7 * MiB },
        reservedBytes: { current: 20 * MiB },
      });
      calls();
      expect(alloc(2)).toBe(first - 2 * MiB);
      expect(alloc(11)).toBe(second + 4 * MiB);
      expect(calls()).toBe('');
      free(first, second);
      manager.checkInvariants();
    });

    test.each([
      [{ offsetBytes: 18 * MiB, bytes: 3 * MiB, requestedBytes: 1 }],
      [{ offsetBytes: 100, bytes: 512, requestedBytes: 1 }],
      [{ offsetBytes: 0, bytes: 512, requestedBytes: 513 }],
      [{ offsetBytes: 0, bytes: 0, requestedBytes: 0 }],
    ])('unless a block does not lie in it: %o', (block) => {
      const { manager } = bench();
      const segment = { pool: 0, stream: 0, isSmall: false, address: GiB, bytes: 20 * MiB, blocks: [block] };
      expect(() => manager.restoreSegment(segment)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      expect(manager.stats().reservedBytes.current).toBe(0);
    });
  });
});
