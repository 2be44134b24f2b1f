import { idsColumn, numbersColumn } from '../event-column.js';
import { type EventBatch, TraceKind } from '../trace-events.js';
import { AGE_BUCKETS, BlockLives, type Windows } from './block-lives.js';

/** So many groups are told apart: the blocks of further ones count as one group without a site and a tag. */
const MAX_GROUPS = 2 ** 16;
const MAX_TEXTS = 2 ** 22;
const FIRST_WINDOW = 1024;
const SEPARATOR = '\n\n';

/** The blocks of one site with one tag. */
export interface LivesGroup {
  /** '' when it was not recorded, or for several. */
  readonly site: string;
  /** '' for none, or for several. */
  readonly tag: string;
  readonly lives: BlockLives;
}

/** A text for a site and a tag. */
export function groupKey(site: string, tag: string): string {
  return `${tag}${SEPARATOR}${site}`;
}

/**
 * Follows the lives of a trace's blocks by site and tag. Memory: some numbers for each block that is live at once, and 1 KiB for
 * each of at most 65,536 groups, however many events there are. Cost: O(1) an event.
 */
export class TraceLives {
  /** Allocations and frees so far. */
  events = 0;
  readonly #groups: LivesGroup[] = [];
  readonly #ids = new Map<number, number>();
  readonly #groupOfSlot = idsColumn();
  readonly #bytesOfSlot = numbersColumn();
  readonly #eventOfSlot = numbersColumn();
  readonly #timeOfSlot = numbersColumn();
  readonly #windows: Windows = { older: 0, newer: 0 };
  #nextWindow = FIRST_WINDOW;
  #lastKey = -1;
  #lastId = 0;

  /** Takes the next events of the trace. */
  add(batch: EventBatch): void {
    const { kinds, slots, bytes, length, tags, sites, times } = batch;
    for (let i = 0; i < length; i++) {
      const kind = kinds[i];
      if (kind === TraceKind.alloc) {
        if (bytes[i]! > 0) this.#alloc(slots[i]!, bytes[i]!, this.#idOf(batch, sites?.[i] ?? 0, tags?.[i] ?? 0), times?.[i] ?? 0);
      } else if (kind === TraceKind.free) this.#free(~slots[i]!);
    }
  }

  /** Ends the trace. @returns all groups, by {@link groupKey} */
  end(slotCount: number): Map<string, LivesGroup> {
    for (let slot = 0; slot < slotCount; slot++) {
      const group = this.#groups[this.#groupOfSlot.get(slot) - 1];
      const age = this.events - this.#eventOfSlot.get(slot);
      group?.lives.survive(age, this.#bytesOfSlot.get(slot), this.#timeOfSlot.get(slot));
    }
    for (const { lives } of this.#groups) lives.end(this.events);
    return new Map(this.#groups.map((group) => [groupKey(group.site, group.tag), group]));
  }

  #alloc(slot: number, bytes: number, id: number, ns: number): void {
    this.#groupOfSlot.set(slot, id);
    this.#bytesOfSlot.set(slot, bytes);
    this.#eventOfSlot.set(slot, this.events);
    this.#timeOfSlot.set(slot, ns);
    this.#groups[id - 1]!.lives.alloc(this.events);
    this.#count();
  }

  #free(slot: number): void {
    const group = this.#groups[this.#groupOfSlot.get(slot) - 1];
    if (group === undefined) return;
    this.#groupOfSlot.set(slot, 0);
    group.lives.free(this.events, this.events - this.#eventOfSlot.get(slot));
    this.#count();
  }

  /** Windows double, so that the last two are at least half of the trace. */
  #count(): void {
    if (++this.events < this.#nextWindow) return;
    for (const { lives } of this.#groups) lives.turn(this.events);
    this.#windows.older = this.#windows.newer;
    this.#windows.newer = this.events;
    this.#nextWindow *= 2;
  }

  /** The number of a group, from 1. */
  #idOf(batch: EventBatch, site: number, tag: number): number {
    const key = site * MAX_TEXTS + tag;
    if (key === this.#lastKey) return this.#lastId;
    this.#lastKey = key;
    this.#lastId = this.#ids.get(key) ?? this.#meet(key, batch.strings.get(site), batch.strings.get(tag));
    return this.#lastId;
  }

  #meet(key: number, site: string, tag: string): number {
    if (this.#ids.size >= MAX_GROUPS && key !== 0) return this.#ids.get(0) ?? this.#meet(0, '', '');
    const id = this.#groups.push({ site, tag, lives: new BlockLives(this.#windows) });
    this.#ids.set(key, id);
    return id;
  }
}

/** The frees of all groups, by the bucket of their age. */
export function allFrees(...traces: readonly Iterable<LivesGroup>[]): Uint32Array {
  const sum = new Uint32Array(AGE_BUCKETS);
  for (const groups of traces)
    for (const { lives } of groups) for (const [i, frees] of lives.freed?.entries() ?? []) sum[i]! += frees;
  return sum;
}
