/** How much of its capacity a device has given out, where no driver keeps count. */
export class DeviceCapacity {
  readonly capacityBytes: number;
  readonly #total: DeviceCapacity | undefined;
  #liveBytes = 0;
  #peakBytes = 0;

  /** @param total - counts what this one and others give out together */
  constructor(capacityBytes: number, total?: DeviceCapacity) {
    this.capacityBytes = capacityBytes;
    this.#total = total;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Tells whether so much is left. */
  admits(bytes: number): boolean {
    return bytes <= this.capacityBytes - this.#liveBytes;
  }

  take(bytes: number): void {
    this.#total?.take(bytes);
    this.#liveBytes += bytes;
    if (this.#liveBytes > this.#peakBytes) this.#peakBytes = this.#liveBytes;
  }

  give(bytes: number): void {
    this.#total?.give(bytes);
    this.#liveBytes -= bytes;
  }
}
