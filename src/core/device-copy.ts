import { unlessRefused } from './attempt.js';
import type { Device } from './device.js';
import { MemoryError } from './errors.js';
import { type DevicePtr, GiB, MiB } from './units.js';

/** A place in a device's memory. */
export interface DevicePlace {
  readonly device: Device;
  readonly ptr: DevicePtr;
}

const STAGING_BYTES = 4 * MiB;
/** What one view shows at most, here. A device may refuse views above 4 GiB. */
const VIEW_BYTES = 1 * GiB;

/**
 * Copies between two devices without a buffer between them, where that can be: it is one device, or the host sees the memory
 * of one of them.
 *
 * @returns false when neither is so; nothing was copied then
 */
export function copyDirectly(target: DevicePlace, source: DevicePlace, bytes: number): boolean {
  if (bytes === 0) return true;
  if (target.device === source.device) target.device.copy(target.ptr, source.ptr, bytes);
  else if (isHostVisible(source, bytes)) {
    inParts(bytes, VIEW_BYTES, (offset, length) => {
      target.device.write(inner(target.ptr, offset), source.device.view(inner(source.ptr, offset), length));
    });
  } else if (isHostVisible(target, bytes)) {
    inParts(bytes, VIEW_BYTES, (offset, length) => {
      source.device.read(inner(source.ptr, offset), target.device.view(inner(target.ptr, offset), length));
    });
  } else return false;
  return true;
}

/** Copies between any two devices, by way of the host where they cannot reach each other. */
export function copyBetweenDevices(target: DevicePlace, source: DevicePlace, bytes: number): void {
  if (copyDirectly(target, source, bytes)) return;
  const staging = new Uint8Array(Math.min(bytes, STAGING_BYTES));
  inParts(bytes, STAGING_BYTES, (offset, length) => {
    const part = staging.subarray(0, length);
    source.device.read(inner(source.ptr, offset), part);
    target.device.write(inner(target.ptr, offset), part);
  });
}

/** Tells whether the host sees the memory there: `bytes` of it, at most 1 GiB of which are looked at. */
export function isHostVisible({ device, ptr }: DevicePlace, bytes = 1): boolean {
  const isUnsupported = (error: unknown) => MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM');
  return unlessRefused(isUnsupported, () => device.view(ptr, Math.min(bytes, VIEW_BYTES))) !== undefined;
}

function inParts(bytes: number, partBytes: number, work: (offset: number, length: number) => void): void {
  for (let offset = 0; offset < bytes; offset += partBytes) work(offset, Math.min(partBytes, bytes - offset));
}

function inner(ptr: DevicePtr, offset: number): DevicePtr {
  return (ptr + offset) as DevicePtr;
}
