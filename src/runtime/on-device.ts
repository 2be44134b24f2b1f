import type { Device } from '../core/device.js';

/** Runs `fn` with another device active, and makes the present one active again. @throws ERR_MEM_INVALID_DEVICE */
export function onDevice<T>(device: Device, id: number, fn: () => T): T {
  const before = device.activeDeviceId;
  if (before === id) return fn();
  device.activate(id);
  try {
    return fn();
  } finally {
    device.activate(before);
  }
}
