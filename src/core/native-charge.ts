/**
 * Whom a slot asks before it gets native memory of a device, and tells of what it gives back. A budget is one.
 *
 * `take` comes before the native call and `give` after it: what the device may hold is always charged. Calls come from the middle
 * of an allocation. Each may call managers back, as native functions may.
 */
export interface NativeCharge {
  /** How many bytes whoever is charged may hold at most now; Infinity where nothing bounds it. Cost: O(members) of what bounds it */
  readonly mostBytes: number;
  /** Charges bytes that are about to be asked for. @throws ERR_MEM_OUT_OF_MEMORY when there is no room; nothing has changed then */
  take(bytes: number): void;
  /** Charges bytes that are there already, or that nobody can refuse. */
  force(bytes: number): void;
  /** Takes a charge back: the bytes are the device's again. */
  give(bytes: number): void;
  /** Resolves when those have answered who make room in their own time; at once where nobody does. */
  settled(): Promise<void>;
  /** Notes that the slot was closed. */
  closed(): void;
}
