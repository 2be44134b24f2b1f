import { describe, expect, test } from 'vitest';
import { addressOf, moveBytes } from '../../adapters/os/bytes.js';
import type { DevicePtr } from '../../src/core/units.js';
import { MallocAllocator } from '../../src/shared/allocators/malloc-allocator.js';
import {
  DEFAULT_MEM_CONTEXT as CTX,
  NULL_FULL_POINTER,
  NULL_OFFSET,
  NULL_TID,
  type OffsetPointer,
} from '../../src/shared/allocators/shared-allocator.js';
import { memoryError } from '../core/fakes.js';
import { ID } from './regions.js';

describe('MallocAllocator', () => {
  const make = () => MallocAllocator.shmInit(undefined, { id: ID });

  test('allocates, moves and frees blocks of the C library, aligned', () => {
    const allocator = make();
    let offset = allocator.alignedAllocateOffset(CTX, 100, 4096);
    expect(offset % 4096).toBe(0);
    expect(allocator.sizeOf(offset)).toBe(100);
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
    moveBytes(allocator.addressOf(offset), addressOf(bytes.buffer), 100);
    offset = allocator.reallocateOffset(CTX, offset, 100_000);
    const seen = new Uint8Array(100);
    moveBytes(addressOf(seen.buffer), offset, 100);
    expect(seen).toEqual(bytes);
    expect(allocator.allocatedBytes).toBe(100_000);
    expect(allocator.fullPointer(offset)).toEqual({ ptr: offset, shared: { allocator: ID, offset } });
    expect(allocator.reallocateOffset(CTX, offset, 0)).toBe(NULL_OFFSET);
    expect([allocator.allocatedBytes, allocator.fullPointer(NULL_OFFSET)]).toEqual([0, NULL_FULL_POINTER]);
    allocator.checkInvariants();
  });

  test('refuses pointers that it has not given, and all calls after detach', () => {
    const allocator = make();
    const offset = allocator.allocateOffset(CTX, 8);
    for (const bad of [0, 1, offset + 1, -2, Number.NaN] as OffsetPointer[]) {
      expect(() => allocator.freeOffset(CTX, bad)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      expect(allocator.sizeOf(bad)).toBe(0);
    }
    allocator.detach();
    allocator.detach();
    expect(allocator.allocatedBytes).toBe(0);
    expect(() => allocator.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_DISPOSED'));
  });

  test('changes nothing when the heap has no room or fails to free', () => {
    let refuses = false;
    const heap = {
      allocate: () => (refuses ? 0 : 4096),
      free: () => {
        if (refuses) throw new Error('no');
      },
    };
    const allocator = MallocAllocator.shmInit(undefined, { id: ID, heap });
    const offset = allocator.allocateOffset(CTX, 10);
    refuses = true;
    expect(() => allocator.allocateOffset(CTX, 10)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { allocatedBytes: 10 }));
    expect(() => allocator.reallocateOffset(CTX, offset, 20)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    expect(() => allocator.freeOffset(CTX, offset)).toThrow('no');
    expect([allocator.sizeOf(offset), allocator.allocatedBytes]).toEqual([10, 10]);
    allocator.checkInvariants();
  });

  test('names storages and forgets them', () => {
    const allocator = make();
    const ctx = { tid: NULL_TID };
    allocator.createTls(ctx);
    expect(() => allocator.createTls(ctx)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    allocator.freeOffset(ctx, allocator.allocateOffset(ctx, 8));
    allocator.freeTls(ctx);
    expect(() => allocator.allocateOffset({ tid: 1 }, 8)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(() => allocator.freeTls(CTX)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(allocator.offsetOf(0 as DevicePtr)).toBe(NULL_OFFSET);
  });
});
