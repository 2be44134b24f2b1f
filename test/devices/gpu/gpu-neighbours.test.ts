import { expect, test } from 'vitest';
import { CUDA, HIP } from '../../../adapters/devices/gpu/gpu-status.js';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';
import { NativeAllocators } from '../../gpu/native-allocators.js';

test.each([CUDA, HIP])('memory of the host right behind a segment is copied as any: $name', async (dialect) => {
  const fixture = new GpuFixture(dialect === HIP ? 'hip' : 'cuda');
  const device = fixture.fresh();
  const { host } = new NativeAllocators(dialect, fixture.library);
  fixture.placeBeforeHost();
  const behind = host.alloc(64 * KiB);
  const ptr = device.nativeAlloc(MiB);
  expect(behind).toBe(ptr + MiB);
  const other = device.nativeAlloc(128 * KiB);
  device.fill(ptr, 4, MiB);
  device.fill(other, 5, 128 * KiB);
  device.copy(behind, other, 64 * KiB);
  device.copy(ptr, behind, 64 * KiB);
  await device.copyAsync((ptr + 64 * KiB) as DevicePtr, behind, 64 * KiB);
  expect(fixture.peek(ptr, 128 * KiB).every((byte) => byte === 5)).toBe(true);
  expect(fixture.peek(ptr + 128 * KiB, 1)).toEqual(Uint8Array.of(4));
  // What the runtime does not know either is a range of the segment that went too far.
  const error = memoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: MiB, blockBytes: MiB });
  expect(() => device.copy(other, behind, 64 * KiB + 1)).toThrow(error);
  host.free(behind);
  expect(() => device.copy(other, behind, 8)).toThrow(error);
  await expect(device.copyAsync(other, behind, 8)).rejects.toThrow(error);
  expect(fixture.lastError).toBe(0);
});
