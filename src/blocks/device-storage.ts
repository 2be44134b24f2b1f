import type { DeviceStats } from '../core/memory-statistics.js';

/** What a manager keeps of one device. */
export interface ManagedDevice {
  readonly device: number;
  readonly stats: DeviceStats;
  /** Native calls that are being made. */
  underway: number;
}

/** Native memory that goes back to the device: meanwhile nobody finds it, and it is not handed out. */
export interface LeavingMemory {
  readonly address: number;
  /** Enters it in all books again: the device has refused it. */
  putBack(): void;
  /** Counts it as gone: the device has taken it. */
  end(): void;
}

/**
 * Where the native memory of a manager is, by device, and its live blocks, by address. There are two: heaps, whose blocks are
 * split and joined, and regions, which one rule carves.
 */
export interface DeviceStorage<D extends ManagedDevice> {
  /** The devices that are managed, in order. */
  readonly all: readonly D[];
  /** Bytes of its own tables. */
  readonly metadataBytes: number;
  /** What is kept of a device; undefined for one that is not managed. */
  get(device: number): D | undefined;
  /** The statistics of a device, those at the end for one whose manager has ended; undefined for one that is not managed. */
  statsOf(device: number): D['stats'] | undefined;
  /** Begins to manage a device. @throws ERR_MEM_DISPOSED when the manager has ended */
  open(device: number): D;
  /** Stops managing a device that holds no memory; does nothing for one that is not managed. */
  close(device: number): void;
  /** The bytes of the live block at an address; 0 when there is none. */
  liveBytesAt(address: number): number;
  /** The locks of the live block at an address; 0 when there is none. */
  locksAt(address: number): number;
  /** Sets the locks of the live block at an address. */
  setLocksAt(address: number, locks: number): void;
  /** Changes the bytes that the holder of the live block at an address asks for, and counts that. */
  setRequestedAt(address: number, requestedBytes: number): void;
  /** Tells whether a free block begins at an address. */
  isFreeAt(address: number): boolean;
  /** Checks the invariants of every device, in O(blocks). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void;
}
