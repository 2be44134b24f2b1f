import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import type { GpuDevice } from '../../../adapters/devices/gpu/gpu-device.js';
import { MemoryError } from '../../../src/core/errors.js';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const PAGE = 64 * KiB;
const OUT_OF_MEMORY = 2;
const UNKNOWN = 999;
const EXPECTED = ['ERR_MEM_NATIVE', 'ERR_MEM_OUT_OF_MEMORY', 'ERR_MEM_DEVICE_ABSENT'];
const fixture = new GpuFixture('cuda');
const cpu = new CpuDevice();
const own = cpu.nativeAlloc(PAGE);

/** What a device says that it holds. */
interface Books {
  readonly liveBytes: number;
  readonly activeDevice: number;
}

function booksOf(device: GpuDevice): Books {
  return { liveBytes: device.liveBytes, activeDevice: device.activeDeviceId };
}

/** Does one step; a failure must be one that was expected, and leave the books as they were. @returns undefined when it failed */
async function attempted<T>(device: GpuDevice, step: () => T | Promise<T>): Promise<T | undefined> {
  const before = booksOf(device);
  try {
    return await step();
  } catch (error) {
    if (!MemoryError.is(error) || !EXPECTED.includes(error.code)) throw error;
    expect(booksOf(device)).toEqual(before);
    expect(fixture.lastError).toBe(0);
    return undefined;
  }
}

/** Uses everything once, and gives everything back; what fails is tried once more. */
async function program(device: GpuDevice): Promise<number> {
  let failures = 0;
  async function must<T>(step: () => T | Promise<T>): Promise<T> {
    const first = await attempted(device, async () => ({ value: await step() }));
    if (first !== undefined) return first.value;
    failures++;
    return step();
  }
  const allocated = (allocate: () => DevicePtr) =>
    must(() => {
      const ptr = allocate();
      if (ptr !== 0) return ptr;
      throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'allocation', status: OUT_OF_MEMORY, statusName: 'refused' });
    });

  await must(() => device.activate(1));
  const a = await allocated(() => device.nativeAlloc(PAGE));
  const b = await allocated(() => device.nativeAlloc(PAGE, 4096));
  const managed = await allocated(() => device.managedAlloc(PAGE));
  const pinned = await allocated(() => device.pinnedAlloc(PAGE));
  await must(() => device.registerHost(own, PAGE));
  await must(() => device.fill(a, 1, PAGE));
  await must(() => device.copy(b, a, PAGE));
  await must(() => device.copy((b + 8) as DevicePtr, b, PAGE - 8));
  await must(() => device.copy(own, b, PAGE));
  await must(() => device.activate(0));
  const stream = await must(() => device.createStream());
  const far = await must(() => device.adoptStream(0));
  await must(() => device.copyAsync(a, pinned, PAGE));
  await must(() => device.fillAsync(managed, 2, PAGE, stream.id));
  await must(() => device.advise(managed, PAGE, 'preferred', 1));
  await must(() => device.prefetchAsync(managed, PAGE, 1, stream.id));
  const event = await must(() => stream.record());
  await must(() => far.wait(event));
  await must(() => event.synchronize());
  await must(() => device.memoryInfo(1));
  const virtual = await must(() => device.virtual!);
  const range = await allocated(() => virtual.reserve(8 * PAGE));
  await must(() => {
    if (!virtual.commit(range, 4 * PAGE))
      throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'commit', status: 2, statusName: '' });
  });
  await must(() => device.fill(range, 3, 4 * PAGE));
  await must(() => virtual.decommit((range + PAGE) as DevicePtr, 2 * PAGE));
  const memory = await must(() => device.exportMemory(a));
  const imported = await must(() => device.importMemory(memory));
  await must(() => device.synchronize());

  await must(() => device.closeMemory(imported));
  await must(() => releaseAll(() => virtual.release(range, 8 * PAGE)));
  await must(() => event[Symbol.dispose]());
  await must(() => far[Symbol.dispose]());
  await must(() => stream[Symbol.dispose]());
  await must(() => device.unregisterHost(own));
  await must(() => device.pinnedFree(pinned));
  await must(() => device.managedFree(managed));
  await must(() => device.nativeFree(b));
  await must(() => device.nativeFree(a));
  // What was refused then is given back now.
  const last = await allocated(() => device.nativeAlloc(64));
  await must(() => device.nativeFree(last));
  return failures;
}

/** A release that fails halfway has given pages back: the books say so, and only here they may. */
function releaseAll(release: () => void): void {
  try {
    release();
  } catch {
    release();
  }
}

beforeAll(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterAll(() => {
  vi.restoreAllMocks();
  cpu.nativeFree(own);
});

describe('CudaDevice', () => {
  test.each([
    ['an error', UNKNOWN],
    ['out of memory', OUT_OF_MEMORY],
  ])('loses nothing to any n-th native call that answers %s', async (_, status) => {
    let n = 1;
    let failures = 0;
    for (; ; n++) {
      const device = fixture.fresh({ pageBytes: PAGE, capacityBytes: 16 * MiB, delay: 1 });
      const calls = fixture.calls;
      fixture.failNth(n, status);
      failures += await program(device);
      const held = {
        live: device.liveBytes,
        used: [fixture.used(0), fixture.used(1)],
        ranges: fixture.liveRanges,
        streams: fixture.liveStreams,
        events: fixture.liveEvents,
        memories: fixture.liveMemories,
        pending: fixture.pending,
      };
      expect({ n, ...held }).toEqual({ n, live: 0, used: [0, 0], ranges: 0, streams: 0, events: 0, memories: 0, pending: 0 });
      if (fixture.calls - calls < n) break;
    }
    expect(n).toBeGreaterThan(100);
    expect(failures).toBeGreaterThan(70);
  });
});
