import { managerReadings } from '../../core/manager-readings.js';
import type { ManagerSlot } from '../../core/manager-slot.js';
import type { MemoryHost } from '../../core/memory-host.js';
import type { DevicePtr } from '../../core/units.js';
import { RareRing } from './rare-ring.js';
import { SiteSamples } from './site-samples.js';

/** A block that was live when the ring began. Blocks without a pointer lived on, and stand for all of their kind. */
export interface BaseBlock {
  readonly ptr: number;
  readonly bytes: number;
  readonly site: string;
  readonly tag: string;
}

/** The tag of what was live when the ring began, and of which nothing but the sum is known. */
const UNKNOWN_TAG = 'earlier, not sampled';
/** Blocks of one size and site are written one by one up to here. */
const MOST_ALIKE = 64;

/** The flight of one slot: its ring, its samples, and its rare events. */
export class SlotFlight {
  readonly samples: SiteSamples;
  readonly rare: RareRing;

  /** @param refused - called when an allocation was refused */
  constructor(
    readonly host: MemoryHost,
    readonly slot: ManagerSlot,
    readonly space: string,
    { ringBytes, sampleBytes, frames, refused }: FlightTerms,
  ) {
    this.samples = new SiteSamples(ringBytes, sampleBytes, frames);
    this.rare = new RareRing(() => this.samples.ring.next, refused);
  }

  begin(): void {
    this.slot.setRing(this.samples.ring, this.rare);
  }

  end(): void {
    if (this.slot.hasRing) this.slot.setRing(undefined, undefined);
  }

  /**
   * Tells which events of the ring are no frees although they unlocked a block: another lock held it.
   *
   * @returns one value for each event from the oldest on, 1 for those
   */
  keptBlocks(): Uint8Array {
    const { ring } = this.samples;
    const { first, next } = ring;
    const kept = new Uint8Array(next - first);
    /** For each pointer whether the next event of it is a free. */
    const nextIsFree = new Map<number, boolean>();
    for (let event = next - 1; event >= first; event--) {
      const ptr = ring.pointerOf(event);
      if (ptr > 0) nextIsFree.set(ptr, false);
      else {
        const isFree = nextIsFree.get(-ptr);
        if (isFree ?? this.#isLive(-ptr)) kept[event - first] = 1;
        nextIsFree.set(-ptr, true);
      }
    }
    return kept;
  }

  /**
   * Finds what was live when the ring began: blocks that the ring has the frees of; of the others those that were sampled, scaled
   * back, and the rest as one block. So the sum of all is what was live.
   *
   * @param kept - as {@link keptBlocks} gives it
   */
  base(kept: Uint8Array): BaseBlock[] {
    const { ring, live, gone } = this.samples;
    const { first, next } = ring;
    const freed = new Map<number, BaseBlock>();
    /** The sizes of blocks that the ring has the allocations of. */
    const made = new Map<number, number>();
    const earlier = Array.from(gone).filter(({ event }) => event < first);
    const sampled = new Map(earlier.map((sample) => [sample.ptr, sample]));
    for (let event = first; event < next; event++) {
      if (kept[event - first] === 1) continue;
      const ptr = ring.pointerOf(event);
      if (ptr > 0) made.set(ptr, ring.bytesOf(event));
      else if (!made.delete(-ptr) && !freed.has(-ptr)) {
        const { site = '', tag = '', bytes = 0 } = sampled.get(-ptr) ?? {};
        const known = Math.max(ring.bytesOf(event), bytes);
        // Of a free whose caller did not know them the bytes are lost.
        if (known > 0) freed.set(-ptr, { ptr: -ptr, bytes: known, site, tag });
      }
    }
    const now = this.#liveNow();
    const bytes = now.bytes - [...made.values()].reduce((sum, size) => sum + size, 0);
    const blocks = now.blocks - made.size;
    const lasting = Array.from(live.values()).filter(({ event }) => event < first);
    return [...freed.values(), ...scaledBack(lasting, Math.max(0, bytes), Math.max(0, blocks))];
  }

  #isLive(ptr: number): boolean {
    return this.slot.usage().some(({ manager }) => manager.allocated(ptr as DevicePtr) > 0);
  }

  #liveNow(): { bytes: number; blocks: number } {
    const readings = managerReadings(this.host).filter(({ slot }) => slot === this.slot.kind);
    const bytes = readings.flatMap(({ devices }) => devices.map(({ stats }) => stats.requestedBytes.current));
    return { bytes: bytes.reduce((sum, one) => sum + one, 0), blocks: this.slot.liveBlocks };
  }
}

/** What the flights of one recorder have in common. */
export interface FlightTerms {
  readonly ringBytes: number;
  readonly sampleBytes: number;
  readonly frames: number;
  readonly refused: () => void;
}

/**
 * Makes blocks for samples, so many that their sum is likely that of all blocks of the site, and one for the rest. Together they have
 * `bytes`.
 */
function scaledBack(
  samples: readonly { readonly bytes: number; readonly site: string; readonly tag: string; readonly weight: number }[],
  bytes: number,
  blocks: number,
): BaseBlock[] {
  const groups = new Map<string, { bytes: number; site: string; tag: string; weight: number }>();
  for (const { bytes: size, site, tag, weight } of samples) {
    const key = `${size} ${tag}\n${site}`;
    const group = groups.get(key) ?? { bytes: size, site, tag, weight: 0 };
    group.weight += weight;
    groups.set(key, group);
  }
  const sampled = [...groups.values()].reduce((sum, { bytes: size, weight }) => sum + size * weight, 0);
  const share = sampled > bytes ? bytes / sampled : 1;
  let left = bytes;
  const made: BaseBlock[] = [];
  for (const { bytes: size, site, tag, weight } of groups.values()) {
    const sum = Math.min(left, Math.round(size * weight * share));
    const count = Math.min(MOST_ALIKE, Math.max(1, Math.round(sum / size)));
    left -= sum;
    for (let i = 0; i < count; i++) {
      const part = Math.floor((sum * (i + 1)) / count) - Math.floor((sum * i) / count);
      if (part > 0) made.push({ ptr: 0, bytes: part, site, tag });
    }
  }
  if (left > 0 && blocks > 0) made.push({ ptr: 0, bytes: left, site: '', tag: UNKNOWN_TAG });
  return made;
}
