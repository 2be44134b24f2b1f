import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CAllocatorHost, type ZlibAllocator, zlibAllocator } from '../../adapters/hosts/c-allocator/index.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { requireLibrary } from '../fixtures/requires.js';
import { cachingManager, exactManager, install } from './test-managers.js';
import { Z_MEM_ERROR, Z_STREAM_END, Zlib } from './zlib.js';

const needed = requireLibrary('zlib', ['libz.so.1', 'libz.dylib'], { deep: true });

/** Text that compresses, with some noise in it. */
function sample(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  let state = 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    data[i] = i % 7 === 0 ? state >>> 24 : 0x61 + ((i >> 5) % 26);
  }
  return data;
}

describe.skipIf(needed.missing)(`CAllocatorHost under ${needed.title}`, () => {
  const input = sample(3 * MiB);
  let zlib: Zlib;
  let device: CpuDevice;
  let host: CAllocatorHost;
  let allocator: ZlibAllocator;

  beforeEach(() => {
    zlib = new Zlib(needed.library);
    device = new CpuDevice();
    host = new CAllocatorHost({ device });
    allocator = zlibAllocator(host);
  });

  afterEach(() => {
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(device.liveBytes).toBe(0);
  });

  const call = <T>(native: () => T): T => host.call(native);

  test('deflates and inflates to the same bytes as with the default allocator', () => {
    install(host, cachingManager());
    const packed = zlib.deflate(input, allocator, call);
    const expected = zlib.deflate(input);
    expect(packed.status).toBe(Z_STREAM_END);
    expect(Buffer.compare(packed.output, expected.output)).toBe(0);
    const unpacked = zlib.inflate(packed.output, input.length, allocator, call);
    expect(unpacked.status).toBe(Z_STREAM_END);
    expect(Buffer.compare(unpacked.output, input)).toBe(0);
    expect(host.slot.nativeAllocs).toBeGreaterThan(0);
    expect(host.slot.liveBlocks).toBe(0);
  });

  test('answers Z_MEM_ERROR, and gives every byte back, for every n that every n-th allocation fails at', () => {
    let failures = 0;
    for (let nth = 1; ; nth++) {
      const failing = install(host, new FailingMemoryManager(exactManager(), { every: nth }));
      const packed = zlib.deflate(input.subarray(0, 64 * KiB), allocator, call);
      const unpacked = zlib.inflate(zlib.deflate(input.subarray(0, 64 * KiB)).output, 64 * KiB, allocator, call);
      expect(host.slot.liveBlocks).toBe(0);
      for (const { status } of [packed, unpacked]) expect([Z_MEM_ERROR, Z_STREAM_END]).toContain(status);
      if (failing.failures === 0) break;
      failures += failing.failures;
      expect(Math.min(packed.status, unpacked.status)).toBe(Z_MEM_ERROR);
    }
    // deflate allocates 5 blocks, inflate 1 and its window.
    expect(failures).toBeGreaterThanOrEqual(7);
  });

  test('answers Z_MEM_ERROR at a limit, and works below it', () => {
    install(host, new LimitingMemoryManager(exactManager(), { limitBytes: 200 * KiB }));
    expect(zlib.deflate(input, allocator, call).status).toBe(Z_MEM_ERROR);
    expect(host.slot.reservedBytes).toBe(0);
    const packed = zlib.deflate(input).output;
    expect(zlib.inflate(packed, input.length, allocator, call).status).toBe(Z_STREAM_END);
  });

  test('tells why in lastError until the next call', () => {
    install(host, new LimitingMemoryManager(exactManager(), { limitBytes: 64 * KiB }));
    let status = 0;
    const noEnd = <T>(native: () => T): T => {
      const result = host.call(native);
      status = Number(result);
      return result;
    };
    zlib.deflate(input, allocator, noEnd);
    expect(status).toBe(Z_MEM_ERROR);
    expect(host.lastError?.facts).toMatchObject({ capacityBytes: 64 * KiB });
    host.call(() => undefined);
    expect(host.lastError).toBeUndefined();
  });

  test('goes on when the manager is swapped in mid-stream', () => {
    const first = install(host, cachingManager());
    const packed = zlib.deflate(input, allocator, call, () => {
      install(host, exactManager());
      expect(host.slot.draining).toEqual([first]);
    });
    expect(host.slot.draining).toEqual([]);
    expect(first.lifecycle.state).toBe('stopped');
    const unpacked = zlib.inflate(packed.output, input.length, allocator, call, () => install(host, cachingManager()));
    expect(Buffer.compare(unpacked.output, input)).toBe(0);
  });

  test('gives the same functions to every stream', () => {
    const before = host.callbacks.size;
    expect(zlibAllocator(host)).toEqual(allocator);
    expect(host.callbacks.size).toBe(before);
  });

  test('cannot be closed while a stream is open', () => {
    install(host, exactManager());
    zlib.deflate(input.subarray(0, KiB), allocator, call, () => {
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      expect(host.callbacks.disposed).toBe(false);
    });
  });
});
