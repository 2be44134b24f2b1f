import { checkArgument } from './errors.js';
import type { NativeCharge } from './native-charge.js';
import type { NativePiece } from './native-ledger.js';

/** The kind of all memory of this machine, pinned or not. */
export const HOST_MEMORY = 'host';

/** Native memory: that of each manager of a slot, or of a host itself. */
export type ChargedPieces = () => Iterable<Iterable<NativePiece>>;

/** Who is charged with the native memory of one slot. */
export class SlotCharges {
  /** By device id; undefined before the first one, so that nobody who is not charged looks further. */
  #byDevice: (NativeCharge | undefined)[] | undefined;
  readonly #pieces: ChargedPieces[];
  readonly #tagsOf = new Map<object, ReadonlyMap<string, NativeCharge>>();
  /** Who is charged with the live blocks of a tag. Replaced as a whole. */
  tenants: ReadonlyMap<string, NativeCharge> | undefined;

  /**
   * @param memory - the kind of the slot's memory
   * @param pieces - that of its managers
   */
  constructor(
    readonly memory: string,
    pieces: ChargedPieces,
  ) {
    this.#pieces = [pieces];
  }

  /** The id that memory is counted under: this machine's own is one, whichever device is active. */
  deviceOf(activeDevice: number): number {
    return this.memory === HOST_MEMORY ? 0 : activeDevice;
  }

  /** Counts native memory that no manager has. */
  include(pieces: ChargedPieces): void {
    this.#pieces.push(pieces);
  }

  /** The charge of a device's memory now. @param device - as {@link deviceOf} gives it. Cost: one flag where there is none */
  of(device: number): NativeCharge | undefined {
    return this.#byDevice === undefined ? undefined : this.#byDevice[device];
  }

  /** How many bytes of a device the slot may hold at most; Infinity where no charge bounds it. @param device - as {@link deviceOf} gives it */
  mostBytesOf(device: number): number {
    return this.of(device)?.mostBytes ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Charges memory of a device from now on, and what is there already.
   *
   * @returns what ends that; what is out then is charged to nobody
   * @throws ERR_MEM_INVALID_ARGUMENT when another charge has the device's memory
   */
  join(device: number, charge: NativeCharge): () => void {
    checkArgument(this.of(device) === undefined, 'member', 'a slot in another budget', 'one that is in no budget');
    this.#byDevice ??= [];
    this.#byDevice[device] = charge;
    let bytes = 0;
    for (const pieces of this.#pieces.flatMap((all) => [...all()])) {
      for (const piece of pieces) {
        if (piece.device !== device || !piece.isOut) continue;
        piece.charge = charge;
        bytes += piece.bytes;
      }
    }
    charge.force(bytes);
    return () => this.#leave(device, charge);
  }

  /**
   * Charges live blocks by their tags from now on.
   *
   * @param budget - whose tags they are: of two that charge one tag, that has it who came first, the innermost
   * @param byTag - undefined ends it
   */
  chargeTags(budget: object, byTag: ReadonlyMap<string, NativeCharge> | undefined): void {
    if (byTag === undefined) this.#tagsOf.delete(budget);
    else this.#tagsOf.set(budget, byTag);
    const all = new Map([...this.#tagsOf.values()].reverse().flatMap((charges) => [...charges]));
    this.tenants = all.size === 0 ? undefined : all;
  }

  /** Waits for those who make room in their own time. @param tag - of the blocks */
  async settled(tag?: string): Promise<void> {
    const tenant = tag === undefined ? undefined : this.tenants?.get(tag);
    for (const charge of tenant === undefined ? this.#all() : [tenant, ...this.#all()]) await charge.settled();
  }

  /** Notes that the slot was closed. */
  closed(): void {
    for (const charge of [...(this.tenants?.values() ?? []), ...this.#all()]) charge.closed();
  }

  #all(): NativeCharge[] {
    return (this.#byDevice ?? []).filter((charge) => charge !== undefined);
  }

  #leave(device: number, charge: NativeCharge): void {
    if (this.#byDevice?.[device] !== charge) return;
    this.#byDevice[device] = undefined;
    if (this.#all().length === 0) this.#byDevice = undefined;
  }
}
