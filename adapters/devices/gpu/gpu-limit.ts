import type { MemoryInfo } from '../../../src/core/device.js';
import { badArgument } from '../../../src/core/errors.js';
import { DeviceCapacity } from '../device-capacity.js';

/** How much of each card to use at most: bytes, or a share of the card, or of what was free on it at the first use. */
export type GpuLimit = number | `${number}%` | `${number}% of free`;

const SHARE = /^(\d+(?:\.\d+)?)\s*%( of free)?$/;

/**
 * What each card gives at most: device memory and pages. It is worked out when a card is first used, and stays.
 *
 * Not counted: managed memory, which may lie elsewhere; imported memory, which is another's; what the runtime takes for itself.
 */
export class GpuLimits {
  readonly #bytesOf: ((info: MemoryInfo) => number) | undefined;
  readonly #memoryInfo: (device: number) => MemoryInfo;
  readonly #capacities: DeviceCapacity[] = [];

  /** @throws ERR_MEM_INVALID_ARGUMENT for a limit that is neither bytes nor a share */
  constructor(limit: GpuLimit | undefined, memoryInfo: (device: number) => MemoryInfo) {
    this.#bytesOf = limit === undefined ? undefined : bytesOf(limit);
    this.#memoryInfo = memoryInfo;
  }

  /** What a device may give, and has given; undefined without a limit. @throws what the runtime throws at the first call */
  of(device: number): DeviceCapacity | undefined {
    if (this.#bytesOf === undefined) return undefined;
    const known = this.#capacities[device];
    if (known !== undefined) return known;
    const info = this.#memoryInfo(device);
    return (this.#capacities[device] = new DeviceCapacity(Math.min(this.#bytesOf(info), info.totalBytes)));
  }
}

function bytesOf(limit: GpuLimit): (info: MemoryInfo) => number {
  if (typeof limit === 'number' && Number.isSafeInteger(limit) && limit > 0) return () => limit;
  const [, percent, ofFree] = (typeof limit === 'string' && SHARE.exec(limit)) || [];
  const share = Number(percent) / 100;
  if (share > 0 && share <= 1) {
    return ({ freeBytes, totalBytes }) => Math.floor((ofFree === undefined ? totalBytes : freeBytes) * share);
  }
  const value = typeof limit === 'string' ? `'${limit}'` : String(limit);
  throw badArgument('limit', value, "a positive number of bytes, or a share from above 0 to 100, such as '90%' or '90% of free'");
}
