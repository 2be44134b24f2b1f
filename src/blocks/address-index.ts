/** Finds a block by the address it begins at. */
export interface AddressIndex {
  /**
   * The block that begins at `address`, or -1. For an address that was never entered it may be one that begins near it:
   * a caller that was given the address by others compares.
   */
  get(address: number): number;
  /** Enters a block under an address that has none yet. */
  set(address: number, block: number): void;
  /** Removes the entry of an address that has one. */
  delete(address: number): void;
  /** Bytes of the index itself. */
  readonly metadataBytes: number;
}
