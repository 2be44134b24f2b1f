import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ensure } from '../../src/blocks/ensure.js';
import { allocationTag } from '../../src/core/allocation-tag.js';
import { orUndo } from '../../src/core/attempt.js';
import { counted } from '../../src/core/counted.js';
import { checkArgument } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { formatBytes } from '../../src/core/units.js';
import { BookkeepingMemoryManager } from './bookkeeping-memory-manager.js';
import { CounterFrame, type Counters } from './counter-frame.js';
import { NumberColumn } from './live-blocks.js';

/** The tag number of all blocks together. */
const ALL = 0;

const OPTIONS: OwnOptions<ManagerOptions> = { of: () => StatisticsMemoryManager, names: { logStream: true } };

/**
 * Counts bytes and blocks on all devices together, in nested levels, as a whole and by tag.
 *
 * `pushCounters` begins a level with zeros, `popCounters` ends it and folds it into the level below, so that a part of a
 * program can be measured without disturbing what is counted around it. Bytes are those that were asked for.
 * A tag is what `runtime.tag(name, fn)` or `withAllocationTag` said when the block was allocated.
 *
 * Cost beside the inner manager's: O(1) a call; push O(1), pop O(tags).
 *
 * @see Source: RMM, statistics_resource_adaptor
 */
export class StatisticsMemoryManager extends BookkeepingMemoryManager {
  readonly #frames: CounterFrame[] = [new CounterFrame()];
  #top = this.#frames[0]!;
  readonly #tagNumbers = new Map<string, number>();
  readonly #tags = new NumberColumn();

  constructor(inner: MemoryManagerAdapter, options: ManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(inner, options);
  }

  /** Levels that are open: 1 from the start. */
  get depth(): number {
    return this.#frames.length;
  }

  /** The tags that were seen, in the order of their first allocation. */
  get tags(): string[] {
    return [...this.#tagNumbers.keys()];
  }

  /** Counters of the top level: of all blocks, or of those with that tag. */
  counters(tag?: string): Counters {
    return this.#countersOf(this.#top, tag);
  }

  /** Begins a level. @returns the counters of the level that was on top until now */
  pushCounters(): Counters {
    const before = this.counters();
    this.#top = new CounterFrame();
    this.#frames.push(this.#top);
    return before;
  }

  /**
   * Ends the top level: `peak = max(peak, current + above.peak)`, `current += above.current`, `total += above.total` below it.
   *
   * @returns the counters of the level that ended
   * @throws ERR_MEM_INVALID_ARGUMENT when only the first level is left
   */
  popCounters(): Counters {
    checkArgument(this.depth >= 2, 'counter depth', this.depth, 'at least 2 to pop one');
    const ended = this.#top;
    this.#frames.pop();
    this.#top = this.#frames.at(-1)!;
    this.#top.fold(ended);
    return this.#countersOf(ended);
  }

  /** Counts what `fn` does in a level of its own, which ends when `fn` returns or throws. */
  measure<T>(fn: () => T): { result: T; counters: Counters } {
    const depth = this.depth;
    const popTo = (level: number) => {
      while (this.depth > level) this.popCounters();
    };
    this.pushCounters();
    const result = orUndo(fn, () => popTo(depth));
    popTo(depth + 1);
    return { result, counters: this.popCounters() };
  }

  override checkInvariants(): void {
    super.checkInvariants();
    const levels = this.#frames.map((frame) => frame.counters(ALL));
    for (const { bytes } of levels) {
      ensure(bytes.peak >= bytes.current, 'peak >= current');
      ensure(bytes.total >= bytes.peak, 'total >= peak');
    }
    const requested = [...this.live].reduce((sum, row) => sum + this.live.requestedOf(row), 0);
    const counted = levels.reduce((sum, { bytes }) => sum + bytes.current, 0);
    ensure(counted === requested, 'sum(level.bytes.current) == sum(live block.requested)');
    const blocks = levels.reduce((sum, level) => sum + level.blocks.current, 0);
    ensure(blocks === this.live.count, 'sum(level.blocks.current) == count(live blocks)');
  }

  protected override entered(row: number): void {
    const name = allocationTag();
    const tag = name === undefined ? ALL : this.#numberOf(name);
    const bytes = this.live.requestedOf(row);
    this.#tags.set(row, tag);
    this.#top.add(ALL, bytes);
    if (tag !== ALL) this.#top.add(tag, bytes);
  }

  protected override wasResized(row: number, requestedBytes: number): void {
    const tag = this.#tags.get(row);
    this.#top.resize(ALL, requestedBytes);
    if (tag !== ALL) this.#top.resize(tag, requestedBytes);
  }

  protected override dropping(row: number): void {
    const tag = this.#tags.get(row);
    const bytes = this.live.requestedOf(row);
    this.#top.subtract(ALL, bytes);
    if (tag !== ALL) this.#top.subtract(tag, bytes);
  }

  protected override infoLine(): string {
    const { bytes, blocks } = this.counters();
    const now = `${formatBytes(Math.max(0, bytes.current))} in ${counted(blocks.current, 'block')}`;
    return `Level ${this.depth}: ${now}, peak ${formatBytes(bytes.peak)}, total ${formatBytes(bytes.total)} in ${blocks.total}`;
  }

  #countersOf(frame: CounterFrame, tag?: string): Counters {
    // A tag that was never seen has a number beyond all others, whose counters are 0.
    return frame.counters(tag === undefined ? ALL : (this.#tagNumbers.get(tag) ?? this.#tagNumbers.size + 1));
  }

  #numberOf(name: string): number {
    let tag = this.#tagNumbers.get(name);
    if (tag === undefined) {
      tag = this.#tagNumbers.size + 1;
      this.#tagNumbers.set(name, tag);
    }
    return tag;
  }
}
