import { checkArgument } from '../../src/core/errors.js';

/** Throws unless `bytes` can be a capacity. @throws ERR_MEM_INVALID_ARGUMENT */
export function checkCapacity(name: string, bytes: number): void {
  checkArgument(Number.isSafeInteger(bytes) && bytes >= 0, name, bytes, 'an integer from 0 to 2^53 - 1 bytes');
}

/** How much of its capacity a device has given out, where no driver keeps count. */
export class DeviceCapacity {
  liveBytes = 0;
  peakBytes = 0;

  /** @param total - counts what this one and others give out together */
  constructor(
    readonly capacityBytes: number,
    readonly total?: DeviceCapacity,
  ) {}

  /** Tells whether so much is left. */
  admits(bytes: number): boolean {
    return bytes <= this.capacityBytes - this.liveBytes;
  }

  take(bytes: number): void {
    this.total?.take(bytes);
    this.liveBytes += bytes;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
  }

  give(bytes: number): void {
    this.total?.give(bytes);
    this.liveBytes -= bytes;
  }
}
