import { describe, expect, test } from 'vitest';
import { BlockMemoryManager, BuddyMemoryManager, CachingMemoryManager } from '../../managers/index.js';
import type { RegionPlan } from '../../managers/policy/region-memory-manager.js';
import { BuddyTree } from '../../src/blocks/buddy-tree.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MiB } from '../../src/core/units.js';
import { installed, memoryError, simulatedRuntime } from '../core/fakes.js';

const table = () => new MemoryManagerDeviceInterface();

/** Keeps the blocks that come back in a list. The next one that it places is what a test says. */
class ListManager extends BlockMemoryManager {
  readonly kept: number[] = [];
  last = 0;
  next: ((block: number, bytes: number) => number | undefined) | undefined;

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const make = (size: number) => this.kept.pop() ?? this.nativeAllocate(size, alignment, device, bytes);
    const { next } = this;
    this.next = undefined;
    if (next !== undefined) return next(this.last, bytes) as number;
    this.last = make(bytes);
    return this.last;
  }

  /** A block that is shorter than was asked for. */
  makeShort(bytes: number): number {
    return this.nativeAllocate(bytes - 1, 0, 0, bytes);
  }

  protected reclaim(block: number): void {
    this.kept.push(block);
  }

  protected trim(): void {
    for (const block of this.kept.splice(0)) this.nativeRelease(block);
  }
}

interface RegionMethods {
  readonly plan: () => RegionPlan | undefined;
  readonly carve: (region: BuddyTree) => BuddyTree | undefined;
}

describe('a policy', () => {
  test.each<[string, (manager: ListManager) => ListManager['next'], string]>([
    ['no block', () => () => 0, 'no block, but 0'],
    ['nothing', () => () => undefined, 'no block, but undefined'],
    ['a block that is too short', (manager) => (_, bytes) => manager.makeShort(bytes), 'one of 99 bytes'],
    ['a block that is live', () => (last) => last, 'one that is live'],
  ])('whose place() gives %s is named, and nothing has changed', (_, nextOf, given) => {
    const { runtime, device } = simulatedRuntime();
    const manager = installed(new ListManager(1, table()), runtime);
    using first = runtime.allocate(1000);
    manager.next = nextOf(manager);
    const invariant = `place() of ListManager gives a free block of at least 100 bytes: it gave ${given}`;
    expect(() => runtime.allocate(100)).toThrow(memoryError('ERR_MEM_INVARIANT', { invariant }));
    expect([runtime.slot.liveBlocks, manager.stats(0).requestedBytes.current, first.disposed]).toEqual([1, 1000, false]);
    manager.checkInvariants();
    runtime.allocate(99).dispose();
    first.dispose();
    runtime.close();
    expect(device.liveBytes).toBe(0);
  });

  test.each<[string, (held: number) => number | undefined]>([
    ['no block', () => 0],
    ['nothing', () => undefined],
    ['a block that is live', (held) => held],
  ])('whose grow() gives %s is named', (_, grow) => {
    const { runtime, device } = simulatedRuntime();
    let isFaulty = false;
    class Growing extends CachingMemoryManager {
      protected override grow(bytes: number, idle: FreeBlocks, id: number): number {
        const block = super.grow(bytes, idle, id);
        return isFaulty ? (grow(this.liveBlock(first.ptr)) as number) : block;
      }
    }
    installed(new Growing(1, table()), runtime);
    const first = runtime.allocate(100);
    isFaulty = true;
    const expected = expect.stringMatching(
      /^grow\(\) of Growing gives a block of at least 50331648 bytes \(48\.00 MiB\) that is in/,
    );
    expect(() => runtime.allocate(48 * MiB)).toThrow(memoryError('ERR_MEM_INVARIANT', { invariant: expected }));
    expect([runtime.slot.liveBlocks, first.disposed]).toEqual([1, false]);
    isFaulty = false;
    runtime.allocate(48 * MiB).dispose();
    first.dispose();
    runtime.close();
    expect(device.liveBytes).toBe(0);
  });

  test.each<[string, string, Partial<RegionMethods>]>([
    [
      'plan() gives nothing',
      'plan() of Buddies gives a region of at least 5000 bytes (4.88 KiB): it gave none',
      { plan: () => undefined },
    ],
    [
      'plan() gives a region that is too small',
      'plan() of Buddies gives a region of at least 5000 bytes (4.88 KiB): it gave 4999 bytes (4.88 KiB)',
      { plan: () => ({ bytes: 4999, alignment: 16 }) },
    ],
    [
      'plan() gives no number',
      'plan() of Buddies gives a region of at least 5000 bytes (4.88 KiB): it gave NaN bytes',
      { plan: () => ({ bytes: Number.NaN, alignment: 16 }) },
    ],
    ['carve() gives nothing', 'carve() of Buddies gives a region: it gave none', { carve: () => undefined }],
    [
      'carve() gives a region without room',
      'carve() of Buddies gives a region with room for a block of 5000 bytes (4.88 KiB): it gave one without',
      { carve: (region) => new BuddyTree(region.base, 4096, region.device, 256) },
    ],
  ])('whose %s is named, and gives nothing away', (_, invariant, { plan, carve }) => {
    const { runtime, device } = simulatedRuntime();
    let isFaulty = true;
    class Buddies extends BuddyMemoryManager {
      protected override plan(bytes: number, alignment: number): RegionPlan {
        return isFaulty && plan !== undefined ? plan()! : super.plan(bytes, alignment);
      }
      protected override carve(base: number, wanted: RegionPlan, id: number): BuddyTree {
        const region = super.carve(base, wanted, id);
        return isFaulty && carve !== undefined ? carve(region)! : region;
      }
    }
    const manager = installed(new Buddies(1, table()), runtime);
    expect(() => runtime.allocate(5000)).toThrow(memoryError('ERR_MEM_INVARIANT', { invariant }));
    expect([runtime.slot.liveBlocks, manager.stats(0).ooms, device.liveBytes]).toEqual([0, 0, 0]);
    isFaulty = false;
    runtime.allocate(5000).dispose();
    runtime.close();
    expect(device.liveBytes).toBe(0);
  });
});
