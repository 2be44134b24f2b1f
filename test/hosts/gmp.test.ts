import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CAllocatorHost, installGmpAllocator } from '../../adapters/hosts/c-allocator/index.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB, type Releasable } from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { requireLibrary } from '../fixtures/requires.js';
import { Gmp } from './gmp.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const CANDIDATES = ['libgmp.so.10', 'libgmp.10.dylib', 'libgmp.dylib'];
const needed = requireLibrary('GMP', CANDIDATES);

describe.skipIf(needed.missing)(`CAllocatorHost under ${needed.title}`, () => {
  let device: CpuDevice;
  let host: CAllocatorHost;
  let installed: Releasable;
  let gmp: Gmp;

  beforeEach(() => {
    device = new CpuDevice();
    host = new CAllocatorHost({ device });
    installed = installGmpAllocator(host, needed.library);
    gmp = new Gmp(needed.library, (native) => host.call(native));
  });

  afterEach(() => {
    installed[Symbol.dispose]();
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(device.liveBytes).toBe(0);
  });

  /** 5000! and 7^20000, computed with GMP's own allocator. */
  function expected(): [string, string] {
    installed[Symbol.dispose]();
    const results = compute(new Gmp(needed.library));
    installed = installGmpAllocator(host, needed.library);
    return results;
  }

  function compute(by: Gmp): [string, string] {
    const [a, b] = [by.make(), by.make()];
    by.factorial(a, 5000);
    by.power(b, 7, 20_000);
    const results: [string, string] = [by.hex(a), by.hex(b)];
    by.clear(a);
    by.clear(b);
    return results;
  }

  test('computes what it computes with the default allocator', () => {
    install(host, cachingManager());
    expect(compute(gmp)).toEqual(expected());
    expect(host.stats()?.blocks.total).toBeGreaterThan(5);
    expect(host.fallback.allocs).toBe(0);
  });

  test('never gives GMP null: it computes on in fallback memory, and the call throws, for every n that every n-th allocation fails at', () => {
    const [factorial] = expected();
    for (let every = 1; ; every++) {
      const failing = install(host, new FailingMemoryManager(exactManager(), { every }));
      const before = host.fallback.allocs;
      // GMP allocates for a number when it first gets a value.
      const number = gmp.make();
      const code = codeOf(() => gmp.factorial(number, 5000));
      expect(code).toBe(failing.failures > 0 ? 'ERR_MEM_OUT_OF_MEMORY' : 'none');
      expect(gmp.hex(number)).toBe(factorial);
      gmp.clear(number);
      expect(host.fallback.liveBlocks).toBe(0);
      expect(host.fallback.allocs - before).toBe(failing.failures);
      if (failing.failures === 0) break;
    }
  });

  test('throws at a limit, and goes back to the manager when there is room again', () => {
    install(host, new LimitingMemoryManager(exactManager(), { limitBytes: 4 * KiB }));
    const number = gmp.make();
    expect(codeOf(() => gmp.power(number, 7, 20_000))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(host.lastError?.facts).toMatchObject({ capacityBytes: 4 * KiB });
    expect(host.fallback.liveBytes).toBeGreaterThan(4 * KiB);
    expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
    install(host, cachingManager());
    gmp.power(number, 7, 40_000);
    expect(host.fallback.liveBytes).toBe(0);
    gmp.power(number, 7, 20_000);
    expect(gmp.hex(number)).toBe(expected()[1]);
    gmp.clear(number);
  });

  test('leaves a number whole when it cannot grow', () => {
    const manager = install(host, new ExhaustedManager(exactManager()));
    const number = gmp.make();
    gmp.factorial(number, 100);
    const before = gmp.hex(number);
    manager.from = 1;
    expect(codeOf(() => gmp.factorial(number, 3000))).toBe('ERR_MEM_OUT_OF_MEMORY');
    gmp.factorial(number, 100);
    expect(gmp.hex(number)).toBe(before);
    gmp.clear(number);
  });

  test('goes on over a swap of the manager while numbers live', () => {
    const first = install(host, cachingManager());
    const [a, b] = [gmp.make(), gmp.make()];
    gmp.factorial(a, 5000);
    install(host, cachingManager());
    gmp.power(b, 7, 20_000);
    expect([gmp.hex(a), gmp.hex(b)]).toEqual(expected());
    expect(first.lifecycle.state).toBe('draining');
    gmp.factorial(a, 6000);
    gmp.clear(a);
    gmp.clear(b);
    expect(first.lifecycle.state).toBe('stopped');
  });

  test('moves a number that was made before the functions were set, and tells', () => {
    installed[Symbol.dispose]();
    const other = new Gmp(needed.library);
    const number = other.make();
    other.factorial(number, 100);
    const factorial = other.hex(number);
    install(host, exactManager());
    installed = installGmpAllocator(host, needed.library);
    expect(codeOf(() => gmp.factorial(number, 2000))).toBe('ERR_MEM_UNKNOWN_POINTER');
    gmp.factorial(number, 100);
    expect(gmp.hex(number)).toBe(factorial);
    gmp.clear(number);
  });

  test('aborts with a message where the device itself has nothing left', () => {
    const child = runChild(`
      import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
      import { openLibrary } from '${moduleUrl('adapters/ffi/library.js')}';
      import { CAllocatorHost, installGmpAllocator } from '${moduleUrl('adapters/hosts/c-allocator/index.js')}';
      import '${moduleUrl('src/index.js')}';
      class EmptyDevice extends CpuDevice { nativeAlloc() { return 0; } }
      const gmp = openLibrary(${JSON.stringify(CANDIDATES)});
      const host = new CAllocatorHost({ device: new EmptyDevice() });
      installGmpAllocator(host, gmp);
      const number = new CpuDevice().nativeAlloc(16);
      host.call(() => gmp.func('__gmpz_init_set_ui', 'void', ['uintptr_t', 'ulong'])(number, 1));
    `);
    expect(child.signal).toBe('SIGABRT');
    expect(child.stderr).toMatch(/^stowage: GMP asks for \d+ bytes.* that the device does not have, and cannot be told so\n/);
  });
});
