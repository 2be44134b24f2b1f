import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { koffi } from '../../adapters/ffi/koffi.js';
import { functionAt } from '../../adapters/ffi/library.js';
import { CAllocatorHost, type CFunctions } from '../../adapters/hosts/c-allocator/index.js';
import { type DevicePtr, KiB, MemoryError, MemoryManagerInstaller, MiB } from '../../src/core/index.js';
import '../../src/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const SIZE_MAX = 2n ** 64n - 1n;

const refusedBytes = ({ lastError }: CAllocatorHost) =>
  MemoryError.is(lastError, 'ERR_MEM_OUT_OF_MEMORY') ? lastError.facts.requestedBytes : lastError;

/** Calls the function pointers as C does. */
class CCaller {
  readonly #host: CAllocatorHost;
  readonly #functions: CFunctions;

  constructor(host: CAllocatorHost) {
    this.#host = host;
    this.#functions = host.functions;
  }

  malloc = (bytes: number | bigint): number => this.#call('malloc', 'uintptr_t', ['size_t'], bytes);
  calloc = (count: number | bigint, bytes: number | bigint): number =>
    this.#call('calloc', 'uintptr_t', ['size_t', 'size_t'], count, bytes);
  realloc = (ptr: number | bigint, bytes: number | bigint): number =>
    this.#call('realloc', 'uintptr_t', ['uintptr_t', 'size_t'], ptr, bytes);
  free = (ptr: number | bigint): void => {
    this.#call('free', 'void', ['uintptr_t'], ptr);
  };

  #call(name: keyof CFunctions, result: string, parameters: string[], ...values: (number | bigint)[]): number {
    const proto = koffi().proto(result, parameters);
    return this.#host.call(() => koffi().call(BigInt(this.#functions[name]), proto, ...values) as number);
  }
}

describe.each([true, false])('CAllocatorHost with a size header: %s', (sizeHeader) => {
  let device: CpuDevice;
  let host: CAllocatorHost;
  let c: CCaller;

  beforeEach(() => {
    device = new CpuDevice();
    host = new CAllocatorHost({ device, sizeHeader });
    c = new CCaller(host);
  });

  afterEach(() => {
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(device.liveBytes).toBe(0);
  });

  const write = (ptr: number, ...bytes: number[]): void => koffi().encode(ptr, koffi().array('uint8_t', bytes.length), bytes);
  const read = (ptr: number, bytes: number): number[] => [
    ...(koffi().decode(ptr, koffi().array('uint8_t', bytes)) as Uint8Array),
  ];

  describe('malloc', () => {
    test('gives multiples of 16 that do not overlap', () => {
      install(host, cachingManager());
      const blocks = [1, 7, 16, 100, 4096, 1 * MiB].map((bytes) => ({ ptr: c.malloc(bytes), bytes }));
      for (const { ptr, bytes } of blocks) {
        expect(ptr % 16).toBe(0);
        write(ptr, ptr % 251);
        write(ptr + bytes - 1, ptr % 251);
      }
      for (const { ptr, bytes } of blocks) {
        expect([...read(ptr, 1), ...read(ptr + bytes - 1, 1)]).toEqual([ptr % 251, ptr % 251]);
        expect(host.heap.sizeOf(ptr)).toBeGreaterThanOrEqual(bytes);
        c.free(ptr);
      }
    });

    test('gives distinct blocks for 0 bytes', () => {
      install(host, exactManager());
      const [a, b] = [c.malloc(0), c.malloc(0)];
      expect(a).not.toBe(0);
      expect(a).not.toBe(b);
      c.free(a);
      c.free(b);
    });

    test('installs the default manager at the first use', () => {
      expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(host)).toBeNull();
      c.free(c.malloc(1));
      expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(host)?.name).toBe('CachingMemoryManager');
    });

    test('gives null for sizes that nobody has, and says why', () => {
      install(host, exactManager());
      for (const bytes of [SIZE_MAX, SIZE_MAX - 15n, 2n ** 63n, 2n ** 63n - 1n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 50n]) {
        expect(c.malloc(bytes)).toBe(0);
        expect(refusedBytes(host)).toBeGreaterThanOrEqual(2 ** 50);
      }
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('refuses a negative size of JavaScript', () => {
      expect(codeOf(() => host.malloc(-1))).toBe('ERR_MEM_INVALID_SIZE');
    });
  });

  describe('calloc', () => {
    test('zeroes blocks that were used before', () => {
      install(host, cachingManager());
      const first = c.malloc(64);
      write(first, ...Array(64).fill(0xff));
      c.free(first);
      const second = c.calloc(8, 8);
      expect(second).toBe(first);
      expect(read(second, 64)).toEqual(Array(64).fill(0));
      c.free(second);
    });

    test('gives null when the product overflows', () => {
      install(host, exactManager());
      for (const [count, bytes] of [
        [2n ** 32n, 2n ** 32n],
        [2n ** 63n, 2n],
        [SIZE_MAX, 1n],
        [SIZE_MAX, SIZE_MAX],
      ] as const) {
        expect(c.calloc(count, bytes)).toBe(0);
        expect(host.lastError?.code).toBe('ERR_MEM_OUT_OF_MEMORY');
      }
    });

    test('gives a block for no elements', () => {
      const ptr = c.calloc(0, 100);
      expect(ptr).not.toBe(0);
      c.free(ptr);
    });
  });

  describe('realloc', () => {
    test('allocates for null, and frees for 0 bytes', () => {
      install(host, exactManager());
      const ptr = c.realloc(0, 10);
      expect(ptr).not.toBe(0);
      expect(c.realloc(ptr, 0)).toBe(0);
      expect(host.slot.liveBlocks).toBe(0);
      expect(host.lastError).toBeUndefined();
    });

    test('grows where the block lies when it is large enough', () => {
      install(host, cachingManager());
      const ptr = c.malloc(100);
      expect(c.realloc(ptr, 512 - 16)).toBe(ptr);
      expect(host.heap.sizeOf(ptr)).toBe(sizeHeader ? 496 : 512);
      c.free(ptr);
    });

    test('moves a block that is too small, with its bytes', () => {
      install(host, cachingManager());
      const ptr = c.malloc(500);
      const bytes = Array.from({ length: 490 }, (_, i) => i % 256);
      write(ptr, ...bytes);
      const moved = c.realloc(ptr, 5000);
      expect(moved).not.toBe(ptr);
      expect(read(moved, 490)).toEqual(bytes);
      expect(host.slot.liveBlocks).toBe(1);
      c.free(moved);
    });

    test('leaves the block as it was when there is no memory', () => {
      const manager = install(host, new ExhaustedManager(cachingManager()));
      const ptr = c.malloc(500);
      write(ptr, 1, 2, 3);
      manager.from = 1;
      expect(c.realloc(ptr, 5000)).toBe(0);
      expect(refusedBytes(host)).toBeGreaterThanOrEqual(5000);
      expect(c.realloc(ptr, SIZE_MAX)).toBe(0);
      expect(read(ptr, 3)).toEqual([1, 2, 3]);
      expect(host.heap.sizeOf(ptr)).toBeGreaterThanOrEqual(500);
      c.free(ptr);
    });

    test('gives memory back when most of it would lie idle, and stays when there is no memory to move to', () => {
      const manager = install(host, new ExhaustedManager(exactManager()));
      const ptr = c.malloc(64 * KiB);
      write(ptr, 1, 2, 3);
      manager.from = 1;
      expect(c.realloc(ptr, 1000)).toBe(ptr);
      manager.from = Number.POSITIVE_INFINITY;
      const smaller = c.realloc(ptr, 1000);
      expect(read(smaller, 3)).toEqual([1, 2, 3]);
      expect(device.liveBytes).toBeLessThan(2 * KiB);
      c.free(smaller);
    });

    test('moves a block to the active manager when its own drains', () => {
      const first = install(host, exactManager());
      const ptr = c.malloc(100);
      write(ptr, 9);
      install(host, exactManager());
      expect(first.lifecycle.state).toBe('draining');
      const moved = c.realloc(ptr, 1000);
      expect(first.lifecycle.state).toBe('stopped');
      expect(read(moved, 1)).toEqual([9]);
      c.free(moved);
    });

    test('keeps the old block when it cannot be freed', () => {
      install(host, exactManager());
      const ptr = c.malloc(100);
      const { nativeFree } = device;
      let refused = false;
      device.nativeFree = (block: DevicePtr) => {
        if (refused) return nativeFree.call(device, block);
        refused = true;
        throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'free', status: 1, statusName: 'test' });
      };
      expect(codeOf(() => c.realloc(ptr, 5000))).toBe('ERR_MEM_NATIVE');
      expect(host.slot.liveBlocks).toBe(1);
      c.free(ptr);
    });
  });

  describe('free', () => {
    test('does nothing for null', () => {
      c.free(0);
    });

    test('refuses pointers that are no block, by the address that C knows', () => {
      install(host, exactManager());
      const ptr = c.malloc(100);
      for (const other of [8, 16, ptr + 16, ptr - 8, 2n ** 63n, SIZE_MAX]) {
        const error = { code: 'ERR_MEM_UNKNOWN_POINTER', facts: { pointer: Number(other) } };
        expect(() => c.free(other)).toThrow(expect.objectContaining(error));
        expect(() => c.realloc(other, 10)).toThrow(expect.objectContaining(error));
        expect(() => host.heap.sizeOf(other)).toThrow(expect.objectContaining(error));
      }
      c.free(ptr);
    });

    test('refuses a second free while the free block is known', () => {
      install(host, cachingManager());
      const [ptr, other] = [c.malloc(100), c.malloc(100)];
      c.free(ptr);
      expect(() => c.free(ptr)).toThrow(expect.objectContaining({ code: 'ERR_MEM_DOUBLE_FREE', facts: { pointer: ptr } }));
      expect(codeOf(() => c.realloc(ptr, 200))).toBe('ERR_MEM_UNKNOWN_POINTER');
      c.free(other);
    });
  });

  describe('dispose', () => {
    test('is refused while C holds blocks', () => {
      const ptr = c.malloc(1);
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      c.free(ptr);
      host.dispose();
      host.dispose();
      expect(codeOf(() => host.functions)).toBe('ERR_MEM_DISPOSED');
      expect(codeOf(() => host.malloc(1))).toBe('ERR_MEM_DISPOSED');
    });
  });

  describe('logging mode', () => {
    test('writes one line a call', () => {
      const chunks: string[] = [];
      const manager = exactManager();
      manager.setLogStream({ write: (chunk) => chunks.push(String(chunk)) });
      manager.setLoggingEnabled(true);
      install(host, manager);
      const ptr = c.malloc(100);
      c.free(ptr);
      host.slot.flushLogs();
      const [base, bytes] = sizeHeader ? [ptr - 16, 116] : [ptr, 100];
      expect(chunks.join('').split('\n').slice(0, 5)).toEqual([
        'initialize ',
        `nativeAlloc ${bytes} ${base} `,
        `alloc ${bytes} 0 ${base} `,
        `unlock ${base} 0 `,
        `nativeFree ${base} `,
      ]);
    });
  });

  test('throws what an oom listener throws from the call, and gives C null', () => {
    const manager = install(host, new ExhaustedManager(exactManager()));
    manager.from = 1;
    host.events.on('oom', () => {
      throw new RangeError('listener');
    });
    expect(() => c.malloc(10)).toThrow(new RangeError('listener'));
  });

  test('retries after an oom listener made room', () => {
    const manager = install(host, new ExhaustedManager(exactManager()));
    manager.from = 1;
    host.events.on('oom', () => {
      manager.from = Number.POSITIVE_INFINITY;
    });
    const ptr = c.malloc(10);
    expect(ptr).not.toBe(0);
    expect(host.lastError).toBeUndefined();
    c.free(ptr);
  });

  test('counts in the statistics of its manager', () => {
    expect(host.stats()).toBeUndefined();
    install(host, exactManager());
    const ptr = c.malloc(100);
    expect(host.stats()?.requestedBytes.current).toBe(sizeHeader ? 116 : 100);
    c.free(ptr);
    expect(host.stats()?.requestedBytes.current).toBe(0);
  });
});

describe('CAllocatorHost with a size header that was overwritten', () => {
  test('refuses to resize the block, and frees it', () => {
    using host = new CAllocatorHost({ sizeHeader: true });
    install(host, exactManager());
    const c = new CCaller(host);
    const ptr = c.malloc(100);
    koffi().encode(ptr - 4, 'uint32_t', 0);
    expect(() => c.realloc(ptr, 200)).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_CORRUPTED', facts: expect.objectContaining({ pointer: ptr, side: 'before' }) }),
    );
    c.free(ptr);
  });
});

describe('CAllocatorHost at exit', () => {
  test('writes the buffered log lines of a host that was not closed, and leaves its memory to C', () => {
    const { status, stdout } = runChild(`
      import { writeSync } from 'node:fs';
      import { CAllocatorHost } from '${moduleUrl('adapters/hosts/c-allocator/index.js')}';
      import '${moduleUrl('src/index.js')}';
      const host = new CAllocatorHost();
      host.free(host.malloc(1));
      host.slot.active.setLogStream({ write: (chunk) => writeSync(1, chunk) });
      host.slot.active.setLoggingEnabled(true);
      host.malloc(100);
    `);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^alloc 100 0 \d+ \n$/);
  });
});

describe('CAllocatorHost', () => {
  test.each([true, false])(
    'tries a free again that the device refused, at the next one or at dispose: fallback memory %s',
    (fallback) => {
      const device = new CpuDevice();
      const host = new CAllocatorHost({ device });
      install(host, exactManager());
      const nativeFree = device.nativeFree.bind(device);
      const alloc = () => (fallback ? host.fallback.alloc(100, 16) : host.malloc(100));
      const free = (ptr: number) => (fallback ? host.fallback.free(ptr) : host.free(ptr));
      const liveBlocks = () => host.slot.liveBlocks + host.fallback.liveBlocks;
      const [a, b, c] = [alloc(), alloc(), alloc()];
      const broken = (ptr?: DevicePtr) => {
        // A native function that calls back finds the block gone.
        if (fallback && ptr !== undefined) expect(host.fallback.free(ptr)).toBe(false);
        throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'free', status: 1, statusName: 'test' });
      };
      device.nativeFree = broken;
      expect(codeOf(() => free(a))).toBe('ERR_MEM_NATIVE');
      expect(liveBlocks()).toBe(3);
      device.nativeFree = nativeFree;
      free(b);
      expect(liveBlocks()).toBe(1);
      device.nativeFree = broken;
      expect(codeOf(() => free(c))).toBe('ERR_MEM_NATIVE');
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      device.nativeFree = nativeFree;
      host.dispose();
      expect(device.liveBytes).toBe(0);
    },
  );

  test('says in lastError why C got null, also outside of every call', () => {
    const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const cause = new MemoryError('ERR_MEM_NOT_INSTALLED', { functionName: 'createDefaultManager' });
    using host = new CAllocatorHost({
      createDefaultManager: () => {
        throw cause;
      },
    });
    const malloc = functionAt<(bytes: number) => number>(host.functions.malloc, 'uintptr_t', ['size_t']);
    expect(malloc(100)).toBe(0);
    expect(host.lastError).toBe(cause);
    expect(emitWarning).toHaveBeenCalledWith(cause);
    emitWarning.mockRestore();
    expect(() => host.call(() => malloc(100))).toThrow(cause);
    expect(host.lastError).toBe(cause);
  });
});
