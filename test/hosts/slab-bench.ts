import { expect } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { callback } from '../../adapters/ffi/callback.js';
import { CallbackTable } from '../../adapters/ffi/callback-table.js';
import { functionAt } from '../../adapters/ffi/library.js';
import { NativeSlabs } from '../../adapters/hosts/slabs/native-slabs.js';
import type { SLAB_CODE } from '../../adapters/hosts/slabs/slab-code.js';
import { type DevicePtr, KiB, MemoryError } from '../../src/core/index.js';

/** What no cell serves. */
export const LARGE_BYTES = 8 * KiB + 1;
const outOfMemory = (requestedBytes: number) =>
  new MemoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes, allocatedBytes: 0, reservedBytes: 0, capacityBytes: 0, device: 0 });

/** Slabs over a device, and their functions as C would call them. */
export class SlabBench {
  readonly device = new CpuDevice();
  readonly table = new CallbackTable('bench');
  readonly slabs: NativeSlabs;
  /** What the larger requests get. */
  readonly large = this.device.nativeAlloc(2 * LARGE_BYTES);
  /** Calls that the code made for what no cell serves. */
  readonly calls: [name: string, ...values: number[]][] = [];
  readonly malloc: (bytes: number) => number;
  readonly realloc: (ptr: number, bytes: number) => number;
  readonly free: (ptr: number) => void;
  readonly size: (ptr: number) => number;
  readonly roundup: (bytes: number) => number;
  refuses = false;
  freeFails = false;
  /** Slabs that the device did not take back. */
  readonly keptByDevice: DevicePtr[] = [];
  /** Runs once a slab was allocated, and once one was freed. */
  onAlloc = () => {};
  onFree = () => {};

  constructor(code: typeof SLAB_CODE) {
    const note = (name: string, ...values: (number | bigint)[]) => this.calls.push([name, ...values.map(Number)]);
    const addresses = this.table.register('slabs', () => ({
      refill: callback({
        result: 'int',
        parameters: ['uint32_t'],
        onError: 0,
        body: (sizeClass) => {
          this.slabs.refill(sizeClass);
          return 1;
        },
      }),
      malloc: callback({
        result: 'uintptr_t',
        parameters: ['size_t'],
        onError: 0,
        body: (bytes) => {
          note('malloc', bytes);
          return this.large;
        },
      }),
      free: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: (ptr) => void note('free', ptr) }),
      realloc: callback({
        result: 'uintptr_t',
        parameters: ['uintptr_t', 'size_t'],
        onError: 0,
        body: (ptr, bytes) => {
          note('realloc', ptr, bytes);
          return this.large;
        },
      }),
      emptied: callback({
        result: 'void',
        parameters: ['uint32_t'],
        onError: undefined,
        body: (slab) => this.slabs.emptied(slab),
      }),
    }));
    const source = {
      alloc: (bytes: number): DevicePtr => {
        if (this.refuses) throw outOfMemory(bytes);
        const ptr = this.device.nativeAlloc(bytes);
        this.onAlloc();
        return ptr;
      },
      free: (ptr: DevicePtr) => {
        try {
          this.device.nativeFree(ptr);
        } catch (error) {
          this.keptByDevice.push(ptr);
          throw error;
        }
        this.onFree();
        if (this.freeFails) throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'free', status: 1, statusName: 'test' });
      },
      outOfMemory,
    };
    this.slabs = new NativeSlabs(source, addresses, code);
    const { sqlite_malloc, sqlite_realloc, slabs_free, slabs_size, sqlite_roundup } = this.slabs.functions;
    const call = <A extends number[], R>(address: number, result: string, parameters: string[]) => {
      const native = functionAt<(...values: A) => R>(address, result, parameters);
      return (...values: A): R => this.table.call(() => native(...values));
    };
    this.malloc = call(sqlite_malloc, 'uintptr_t', ['int']);
    this.realloc = call(sqlite_realloc, 'uintptr_t', ['uintptr_t', 'int']);
    this.free = call(slabs_free, 'void', ['uintptr_t']);
    this.size = call(slabs_size, 'int', ['uintptr_t']);
    this.roundup = call(sqlite_roundup, 'int', ['int']);
  }

  dispose(): void {
    this.device.nativeFree(this.large);
    expect(this.slabs.usage()).toEqual({ slabs: 0, slabBytes: 0, liveCells: 0 });
    expect(this.device.liveBytes).toBe(0);
    this.slabs.dispose();
    this.table.dispose();
  }
}
