import { maxMemoryBytes } from '../../adapters/os/memory-limits.js';
import type { Device } from '../core/device.js';
import { badArgument } from '../core/errors.js';

/** Bytes, or a share of the machine or container, or of the card. */
export type BudgetLimit = number | `${number}%`;

const SHARE = /^(\d+(?:\.\d+)?)\s*%$/;

/** The share that a limit is; undefined for bytes. @throws ERR_MEM_INVALID_ARGUMENT for a limit that is neither */
export function shareOf(limit: BudgetLimit): number | undefined {
  if (typeof limit === 'number' && limit > 0 && (Number.isSafeInteger(limit) || limit === Number.POSITIVE_INFINITY)) {
    return undefined;
  }
  const [, percent] = (typeof limit === 'string' && SHARE.exec(limit)) || [];
  const share = Number(percent) / 100;
  if (share > 0 && share <= 1) return share;
  const value = typeof limit === 'string' ? `'${limit}'` : String(limit);
  throw badArgument('limit', value, "a positive number of bytes, or a share from above 0 to 100, such as '80%'");
}

/** How many bytes a budget may hold. */
export class LimitReading {
  #bytes: number | undefined;
  readonly #share: number | undefined;
  readonly #device: Device | undefined;
  readonly #deviceId: number;

  /**
   * @param device - whose share; this machine's or container's when left out
   * @throws ERR_MEM_INVALID_ARGUMENT for a limit that is neither bytes nor a share
   */
  constructor(limit: BudgetLimit, device: Device | undefined, deviceId: number) {
    this.#share = shareOf(limit);
    this.#bytes = this.#share === undefined ? (limit as number) : undefined;
    this.#device = device;
    this.#deviceId = deviceId;
  }

  /** Read when it is first asked for, and by {@link refresh}. */
  get bytes(): number {
    return (this.#bytes ??= this.#read());
  }

  /** Reads a container's limit again. Cost: some files, about 50 us; nothing where the limit is given in bytes, or a card's. */
  refresh(): void {
    if (this.#share !== undefined && this.#device === undefined) this.#bytes = this.#read();
  }

  #read(): number {
    const all = this.#device === undefined ? maxMemoryBytes() : this.#device.getMaxMemorySize(this.#deviceId);
    return Math.max(1, Math.floor(all * this.#share!));
  }
}
