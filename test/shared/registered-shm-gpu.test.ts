import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import { RegisteredShmBackend } from '../../src/shared/backends/named-backends.js';
import { registerDeviceThreads, threadModel } from '../../src/shared/threads/thread-models.js';
import { codeOf } from '../fixtures/code-of.js';
import { GpuFixture } from '../fixtures/gpu-fixture.js';
import { expectNothingLeft, freshName } from './names.js';

expectNothingLeft();

describe.each([
  ['cuda', 'cuda-shm'],
  ['hip', 'hip-shm'],
] as const)('a segment registered with %s', (kind, type) => {
  const fixture = new GpuFixture(kind);

  test('is copied from and to by the device', () => {
    const device = fixture.fresh();
    const created = RegisteredShmBackend.create(type, freshName(), { id: 0, bytes: MiB, device });
    const attached = RegisteredShmBackend.attach(created.url, { device });
    const block = device.nativeAlloc(1000);
    created.region.uint8.fill(7, 0, 1000);
    device.copy(block, created.region.base, 1000);
    device.copy((attached.region.base + 5000) as typeof block, block, 1000);
    expect(created.region.uint8.subarray(5000, 6000).every((byte) => byte === 7)).toBe(true);
    device.nativeFree(block);
    attached.detach();
    expect(codeOf(() => device.unregisterHost(attached.region.base))).toBe('ERR_MEM_UNKNOWN_POINTER');
    created.destroy();
  });

  test('is gone when the driver refuses to register it', () => {
    const device = fixture.fresh();
    const name = freshName();
    fixture.fail('HostRegister', 2);
    expect(codeOf(() => RegisteredShmBackend.create(type, name, { id: 0, bytes: MiB, device }))).not.toBe('none');
    using _created = RegisteredShmBackend.create(type, name, { id: 0, bytes: MiB, device });
  });

  test('has the streams of its device as threads', () => {
    const device = fixture.fresh();
    const { model, unregister } = registerDeviceThreads(device);
    expect(threadModel(kind)).toBe(model);
    model.yield();
    model.onStream(0, () => model.yield());
    unregister();
  });
});
