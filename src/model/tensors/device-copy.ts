import { addressOf } from '../../../adapters/os/bytes.js';
import type { Device } from '../../core/device.js';
import { MemoryError } from '../../core/errors.js';
import { type DevicePtr, MiB } from '../../core/units.js';

/** A place in a device's memory. */
export interface DevicePlace {
  readonly device: Device;
  readonly ptr: DevicePtr;
}

const STAGING_BYTES = 4 * MiB;

/** Copies bytes of JavaScript to a device. @throws what the device's `copy` throws */
export function copyToDevice({ device, ptr }: DevicePlace, data: Uint8Array): void {
  if (data.byteLength > 0) device.copy(ptr, hostPtr(data), data.byteLength);
}

/** Copies bytes of a device to JavaScript. @throws what the device's `copy` throws */
export function copyFromDevice(data: Uint8Array, { device, ptr }: DevicePlace): void {
  if (data.byteLength > 0) device.copy(hostPtr(data), ptr, data.byteLength);
}

/**
 * Copies between two devices in one call, where either can reach the other's memory: it is one device, or one of them has
 * memory that the host sees.
 *
 * @returns false when neither can; nothing was copied then
 */
export function copyDirectly(target: DevicePlace, source: DevicePlace, bytes: number): boolean {
  if (bytes === 0) return true;
  const isReached = target.device === source.device || isHostVisible(source);
  const device = isReached ? target.device : isHostVisible(target) ? source.device : undefined;
  device?.copy(target.ptr, source.ptr, bytes);
  return device !== undefined;
}

/** Copies between any two devices, by way of the host where they cannot reach each other. */
export function copyBetweenDevices(target: DevicePlace, source: DevicePlace, bytes: number): void {
  if (copyDirectly(target, source, bytes)) return;
  const staging = new Uint8Array(Math.min(bytes, STAGING_BYTES));
  for (let done = 0; done < bytes; done += STAGING_BYTES) {
    const part = staging.subarray(0, Math.min(STAGING_BYTES, bytes - done));
    copyFromDevice(part, { device: source.device, ptr: (source.ptr + done) as DevicePtr });
    copyToDevice({ device: target.device, ptr: (target.ptr + done) as DevicePtr }, part);
  }
}

/** Tells whether the host sees the memory there. */
export function isHostVisible({ device, ptr }: DevicePlace): boolean {
  try {
    device.view(ptr, 1);
    return true;
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')) return false;
    throw error;
  }
}

function hostPtr(data: Uint8Array): DevicePtr {
  return (addressOf(data.buffer) + data.byteOffset) as DevicePtr;
}
