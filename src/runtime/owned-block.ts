import { withAllocationTag } from '../core/allocation-tag.js';
import { attempt, orUndo } from '../core/attempt.js';
import type { Device } from '../core/device.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { MemoryHost } from '../core/memory-host.js';
import type { NativeCharge } from '../core/native-charge.js';
import type { Reclaimable } from '../core/process-state.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import type { UndisposedHandles } from './collector-pressure.js';
import type { HandleWatch } from './handle-watch.js';
import { onDevice } from './on-device.js';

/** What blocks of one slot of a runtime have in common that were asked for in the same way. */
export interface BlockSource {
  readonly host: MemoryHost;
  readonly device: Device;
  readonly slot: ManagerSlot;
  readonly watch: HandleWatch;
  readonly undisposed: UndisposedHandles;
  readonly alignment: number;
  readonly stream: number;
  readonly tag: string | undefined;
  /** The tenants of the slot when blocks were asked for in this way. */
  readonly tenants: ReadonlyMap<string, NativeCharge> | undefined;
  /** Who is charged with the live blocks, where the tag has one. */
  readonly charge: NativeCharge | undefined;
  /** The device whose memory a live block takes; 0 for this machine's own, and for no bytes. */
  readonly deviceOf: (ptr: DevicePtr) => number;
}

/** The source of blocks that are asked for by nothing but their bytes. @param presses - whether dropped handles ask for collections */
export function plainSource(
  host: MemoryHost,
  device: Device,
  slot: ManagerSlot,
  watch: HandleWatch,
  presses: boolean,
): BlockSource {
  const kind = slot.charges.memory;
  const undisposed = watch.pressure.handlesOf(kind, presses);
  // A block of no bytes lies nowhere: a device would say that its active one has it, whichever that is by then.
  const deviceOf = (ptr: DevicePtr) => (kind === HOST_MEMORY || ptr === NULL_PTR ? 0 : device.deviceIdOf(ptr));
  return {
    host,
    device,
    slot,
    watch,
    undisposed,
    alignment: 0,
    stream: 0,
    tag: undefined,
    tenants: undefined,
    charge: undefined,
    deviceOf,
  };
}

/** What few blocks have: several owners, of parts even, a manager that may free them by itself, a listener. */
export interface BlockTerms {
  /** The address of the whole block. */
  ptr: DevicePtr;
  /** The bytes of the whole block. */
  bytes: number;
  /** How many handles have the block. */
  owners: number;
  /** How many of them are old. */
  old: number;
  /** The manager's ticket; 0 where the manager frees nothing by itself. */
  ticket: number;
  readonly onFreed: (() => void) | undefined;
}

/** What a block needs of {@link BlockTerms}: nothing, for most. @param asked - what it has whatever its manager is */
export function termsOf(
  source: BlockSource,
  ptr: DevicePtr,
  bytes: number,
  asked: BlockTerms | undefined,
): BlockTerms | undefined {
  return asked === undefined && !source.slot.givesTickets ? undefined : termsWith(source.slot.ticketOf(ptr), ptr, bytes, asked);
}

/** {@link termsOf} where the manager may give a ticket, or more was asked for. Apart, as {@link releaseShare} is. */
function termsWith(ticket: number, ptr: DevicePtr, bytes: number, asked: BlockTerms | undefined): BlockTerms | undefined {
  if (asked === undefined && ticket === 0) return undefined;
  const terms = asked ?? newTerms(bytes);
  terms.ptr = ptr;
  terms.ticket = ticket;
  return terms;
}

/** The terms of one owner, of a block that is still to be had. */
export function newTerms(bytes: number, onFreed?: () => void): BlockTerms {
  return { ptr: NULL_PTR, bytes, owners: 1, old: 0, ticket: 0, onFreed };
}

/** The terms of a block with one owner, so that there can be several. */
export function sharable(ptr: DevicePtr, bytes: number): BlockTerms {
  const terms = newTerms(bytes);
  terms.ptr = ptr;
  return terms;
}

/** Allocates a block as another one was, from its manager (the active one when that drains) and on its device. @throws as `allocate` */
export function allocateLike(source: BlockSource, like: DevicePtr, bytes: number): DevicePtr {
  const { slot, device, alignment, stream, tag, charge } = source;
  const allocate = () => slot.allocLike(like, bytes, alignment, stream);
  let ptr = NULL_PTR;
  charge?.take(bytes);
  return orUndo(
    () =>
      onDevice(device, device.deviceIdOf(like), () => {
        ptr = tag === undefined ? allocate() : withAllocationTag(tag, allocate);
        return ptr;
      }),
    () => abandon(source, ptr, bytes),
  );
}

/** True when a block was given back without its owners: the runtime was closed, or an arena was reset. */
export function isGone({ slot }: BlockSource, terms: BlockTerms | undefined): boolean {
  return slot.closed || (terms !== undefined && terms.ticket !== 0 && slot.ticketOf(terms.ptr) !== terms.ticket);
}

/**
 * Counts one owner less; the last one frees the block. The handle is empty by then, and has its block again when this
 * throws: the free may call back, and `onFreed` does.
 *
 * @param ptr - the block's, where it has no terms
 * @param bytes - as ptr
 * @returns whether that was the last one, of a runtime that was not closed: the caller calls `onFreed` once its handle is gone
 */
export function release(source: BlockSource, ptr: DevicePtr, bytes: number, terms: BlockTerms | undefined): boolean {
  if (terms !== undefined) return releaseShare(source, terms);
  const { slot, charge } = source;
  if (!slot.closed) slot.unlock(ptr, true, bytes);
  if (charge !== undefined) charge.give(bytes);
  return true;
}

/** {@link release} of a block with terms. Apart: most blocks have none, and V8 inlines so much bytecode, and no more. */
function releaseShare(source: BlockSource, terms: BlockTerms): boolean {
  const { slot, charge } = source;
  terms.owners--;
  try {
    if (terms.owners === 0 && !isGone(source, terms)) slot.unlock(terms.ptr, true, terms.bytes);
  } catch (error) {
    terms.owners++;
    throw error;
  }
  if (charge !== undefined && terms.owners === 0) charge.give(terms.bytes);
  return terms.owners === 0 && !slot.closed;
}

/** Counts a handle that is old now: a block with several once. */
export function countOld({ undisposed }: BlockSource, bytes: number, terms: BlockTerms | undefined, device: number): void {
  if (terms === undefined) undisposed.add(bytes, device);
  else if (terms.old++ === 0) undisposed.add(terms.bytes, device);
}

/** Takes back {@link countOld}. */
export function uncountOld({ undisposed }: BlockSource, bytes: number, terms: BlockTerms | undefined, device: number): void {
  if (terms === undefined) undisposed.remove(bytes, device);
  else if (--terms.old === 0) undisposed.remove(terms.bytes, device);
}

/** What a handle has of its block. It outlives a handle that is dropped, and then frees itself. */
export class OwnedBlock implements Reclaimable {
  /** @param device - that of an old handle */
  constructor(
    readonly source: BlockSource,
    readonly ptr: DevicePtr,
    readonly bytes: number,
    readonly terms: BlockTerms | undefined,
    readonly device = 0,
  ) {}

  /** Releases for a handle that could not be made. The free is made again at a cleanup when it fails. */
  abandon(): void {
    this.source.slot.ensureFreed(() => release(this.source, this.ptr, this.bytes, this.terms));
  }

  /**
   * Releases for a handle that was dropped, and reports the leak when that freed the block. (A reset may have done so before.) The free is made again at a cleanup
   * when it fails, which nobody can catch here.
   */
  reclaim(): void {
    const { source, terms } = this;
    const { ptr, bytes } = terms ?? this;
    const { slot, host, watch } = source;
    uncountOld(source, bytes, terms, this.device);
    slot.ensureFreed(() => {
      if (slot.closed) return;
      const isLeak = !isGone(source, terms);
      const site = slot.siteOf(ptr);
      if (!release(source, ptr, bytes, terms)) return;
      attempt(() => terms?.onFreed?.());
      if (!isLeak) return;
      watch.noteDropped(bytes);
      attempt(() => host.events.emit('leak', { slot: slot.kind, ptr, bytes, site }));
    });
  }
}

/** Frees a block whose handle could not be made, if there is one. It is tried again at a cleanup when that fails. */
export function abandon(source: BlockSource, ptr: DevicePtr, bytes: number): void {
  if (ptr === NULL_PTR) source.charge?.give(bytes);
  else new OwnedBlock(source, ptr, bytes, undefined).abandon();
}
