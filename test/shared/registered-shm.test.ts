import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { lockPages, unlockPages } from '../../adapters/os/mapping.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB } from '../../src/core/units.js';
import { attachBackendAt } from '../../src/shared/backends/backend-factory.js';
import type { HostRegistrar } from '../../src/shared/backends/named-backends.js';
import { PosixShmBackend, RegisteredShmBackend } from '../../src/shared/backends/named-backends.js';
import { codeOf } from '../fixtures/code-of.js';
import { expectNothingLeft, freshName } from './names.js';

expectNothingLeft();

/** What a driver does for host memory, by the system's own means: it locks the pages. */
class LockingDevice implements HostRegistrar {
  readonly registered = new Map<DevicePtr, number>();
  refuses = false;

  registerHost(ptr: DevicePtr, bytes: number): void {
    if (this.refuses) throw refusal('cudaHostRegister');
    lockPages(ptr, bytes);
    this.registered.set(ptr, bytes);
  }

  unregisterHost(ptr: DevicePtr): void {
    if (this.refuses) throw refusal('cudaHostUnregister');
    unlockPages(ptr, this.registered.get(ptr) as number);
    this.registered.delete(ptr);
  }
}

function refusal(functionName: string): MemoryError {
  return new MemoryError('ERR_MEM_NATIVE', { functionName, status: 2, statusName: 'cudaErrorMemoryAllocation' });
}

function lockedKiB(): number {
  return Number(/VmLck:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

const BYTES = 60 * KiB;

describe.skipIf(process.platform !== 'linux').each(['cuda-shm', 'hip-shm'] as const)(
  'RegisteredShmBackend of type %s',
  (type) => {
    test('registers the whole memory in every process that attaches, and unregisters before it goes', () => {
      const device = new LockingDevice();
      const before = lockedKiB();
      const created = RegisteredShmBackend.create(type, freshName(), { id: 4, bytes: BYTES, device });
      expect([...device.registered.values()]).toEqual([64 * KiB]);
      expect(lockedKiB() - before).toBe(64);
      const attached = RegisteredShmBackend.attach(created.url, { device });
      expect(lockedKiB() - before).toBe(128);
      created.region.int32[1] = 5;
      expect(attached.region.int32[1]).toBe(5);
      attached.destroy();
      attached.destroy();
      expect(lockedKiB() - before).toBe(64);
      created.destroy();
      expect(lockedKiB()).toBe(before);
      expect(device.registered.size).toBe(0);
    });

    test('leaves nothing behind when the device refuses', () => {
      const device = new LockingDevice();
      device.refuses = true;
      const name = freshName();
      expect(codeOf(() => RegisteredShmBackend.create(type, name, { id: 4, bytes: BYTES, device }))).toBe('ERR_MEM_NATIVE');
      expect(codeOf(() => PosixShmBackend.attach(name))).toBe('ERR_MEM_SEGMENT_ABSENT');
      device.refuses = false;
      using created = RegisteredShmBackend.create(type, name, { id: 4, bytes: BYTES, device });
      device.refuses = true;
      expect(codeOf(() => RegisteredShmBackend.attach(name, { device }))).toBe('ERR_MEM_NATIVE');
      expect(codeOf(() => created.detach())).toBe('ERR_MEM_NATIVE');
      expect(created.detached).toBe(false);
      device.refuses = false;
    });

    test('a process without the device uses it as plain shared memory', () => {
      const device = new LockingDevice();
      using created = RegisteredShmBackend.create(type, freshName(), { id: 4, bytes: BYTES, device });
      using plain = attachBackendAt(created.url);
      expect(plain).toBeInstanceOf(PosixShmBackend);
      expect(plain.type).toBe(created.type);
      using registered = attachBackendAt(created.url, { device });
      expect(registered).toBeInstanceOf(RegisteredShmBackend);
      expect(device.registered.size).toBe(2);
    });

    test('does not attach to memory of another type', () => {
      using created = PosixShmBackend.create(freshName(), { id: 0, bytes: BYTES });
      expect(() => RegisteredShmBackend.attach(created.url, { device: new LockingDevice() })).toThrow(
        /it is of type posix-shm, not cuda-shm or hip-shm/,
      );
    });
  },
);
