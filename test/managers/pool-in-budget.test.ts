import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PoolMemoryManager } from '../../managers/pool/pool-memory-manager.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { ManagerSlot } from '../../src/core/manager-slot.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import type { TraceEvents } from '../../src/trace/trace-events.js';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { SeededRandom } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { atLeast } from '../fixtures/same.js';

const PAGE = 2 * MiB;
const CARD = 139 * GiB;
const MANY = 2 ** 20;

/** Those of the test that runs. */
const budgets: MemoryBudget[] = [];
afterEach(() => {
  for (const budget of budgets.splice(0)) budget.dispose();
});

/** A pool in a slot on a card that takes back whole pieces alone, and how large each piece was that it asked for. */
function pool(capacityBytes: number) {
  const device = new SimulatedDevice({ capacityBytes, virtual: { granularityBytes: PAGE, decommitStops: true, pieces: true } });
  const asked: number[] = [];
  const virtual = device.virtual!;
  const commit = virtual.commit.bind(virtual);
  virtual.commit = (ptr, bytes, pieceBytes) => {
    asked.push(pieceBytes!);
    return commit(ptr, bytes, pieceBytes);
  };
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const manager = new PoolMemoryManager(1, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  const budgetOf = (limit: number) => {
    const budget = new MemoryBudget({ limit, memory: device, exitReport: false });
    budgets.push(budget);
    return budget;
  };
  return { device, manager, slot: runtime.slot, asked, budgetOf };
}

/** Live blocks, and what share of the limit was live when each request was refused that is not larger than what is left. */
class Program {
  readonly random = new SeededRandom(7);
  readonly refusedAt: number[] = [];
  liveBytes = 0;
  readonly #live: { readonly ptr: DevicePtr; readonly bytes: number }[] = [];

  constructor(
    readonly slot: ManagerSlot,
    readonly limitBytes: number,
  ) {}

  get count(): number {
    return this.#live.length;
  }

  allocate(bytes: number): boolean {
    const code = codeOf(() => this.#live.push({ ptr: this.slot.alloc(bytes, true), bytes }));
    if (code === 'none') this.liveBytes += bytes;
    else {
      expect(code).toBe('ERR_MEM_OUT_OF_MEMORY');
      if (this.liveBytes + bytes <= this.limitBytes) this.refusedAt.push(this.liveBytes / this.limitBytes);
    }
    return code === 'none';
  }

  free(at: number): void {
    const [last, { ptr, bytes }] = [this.#live.at(-1)!, this.#live[at]!];
    this.#live[at] = last;
    this.#live.pop();
    this.liveBytes -= bytes;
    this.slot.unlock(ptr, true);
  }

  /** Frees all blocks but that share. */
  thin(share: number): void {
    for (let at = this.count - 1; at >= 0; at--) if (this.share() >= share) this.free(at);
  }

  /** From 0 to 1. */
  share(): number {
    return this.random.below(MANY) / MANY;
  }
}

let resnet: TraceEvents;

beforeAll(async () => {
  resnet = await loadTrace('test/traces/resnet.trace.gz');
});

const PROGRAMS: readonly [string, (program: Program) => void][] = [
  [
    'of sizes from 4 KiB to a sixteenth of the limit',
    (program) => {
      const { limitBytes } = program;
      let most = 0;
      for (let i = 0; i < 4000; i++) {
        if (i % 300 === 0) most = (0.2 + 0.8 * program.share()) * limitBytes;
        const bytes = Math.floor(4 * KiB * (limitBytes / 16 / (4 * KiB)) ** program.share());
        if (program.liveBytes + bytes < most) {
          if (!program.allocate(bytes)) program.thin(0.9);
        } else program.free(program.random.below(program.count));
      }
    },
  ],
  [
    'of many small blocks and few large ones by turns',
    (program) => {
      for (let turn = 0; turn < 12; turn++) {
        const small = MiB * (0.5 + 3 * program.share());
        for (let i = 0; i < (0.5 * program.limitBytes) / small; i++) {
          if (!program.allocate(Math.floor(small * (0.5 + program.share())))) break;
        }
        program.thin(0.03 + 0.1 * program.share());
        const large = (0.05 + 0.2 * program.share()) * program.limitBytes;
        for (let i = 0; i < 30 && program.allocate(Math.floor(large * (0.7 + 0.6 * program.share()))); i++);
        program.thin(0.15);
      }
    },
  ],
  [
    'as resnet, over and over in other sizes, of which some blocks stay',
    (program) => {
      const { slots, bytes } = resnet;
      for (let turn = 0; turn < 4; turn++) {
        const factor = ((0.4 + 0.6 * program.share()) * (program.limitBytes - program.liveBytes)) / resnet.peakLiveBytes;
        let depth = 0;
        for (let i = program.random.below(8000); i < slots.length; i++) {
          if (slots[i]! >= 0) depth += Number(program.allocate(Math.ceil(bytes[i]! * factor)));
          else if (depth > 0) {
            program.free(program.count - 1 - program.random.below(Math.min(depth, 8)));
            depth--;
          }
        }
        program.thin(0.05);
      }
    },
  ],
];

describe('PoolMemoryManager in a budget on a card', () => {
  describe.each([1, 2, 8])('of %i GiB', (gibibytes) => {
    test.each(PROGRAMS)('is refused as late as on a card that has no more, in a program %s', (_, run) => {
      const limitBytes = gibibytes * GiB;
      const [inBudget, onCard] = [CARD, limitBytes].map((capacityBytes) => {
        const { slot, budgetOf } = pool(capacityBytes);
        if (capacityBytes > limitBytes) budgetOf(limitBytes).add(slot);
        const program = new Program(slot, limitBytes);
        run(program);
        return program.refusedAt.sort((a, b) => a - b);
      }) as [number[], number[]];
      const middle = (shares: number[]) => shares[shares.length >> 1] ?? 1;
      atLeast(middle(inBudget), middle(onCard) - 0.03);
      // Programs go apart after a refusal, so that the worst one is not the same.
      atLeast(inBudget[0] ?? 1, Math.min(0.65, onCard[0] ?? 1) - 0.05);
      expect(Math.abs(inBudget.length - onCard.length)).toBeLessThanOrEqual(3);
    });
  });

  test.each(['budget', 'budget in a smaller one'])('has whole pieces to give back when little is live, in a %s', (kind) => {
    const { slot, budgetOf } = pool(CARD);
    const [inner, outer] = kind === 'budget' ? [2 * GiB] : [64 * GiB, 2 * GiB];
    const budget = budgetOf(inner!);
    budget.add(slot);
    if (outer !== undefined) budgetOf(outer).add(budget);
    const blocks = Array.from({ length: 1024 }, () => slot.alloc(MiB, true));
    blocks.forEach((ptr, i) => {
      if (i % 32 !== 0) slot.unlock(ptr, true);
    });
    expect(codeOf(() => slot.alloc(1.5 * GiB, true))).toBe('none');
  });

  test('gets pieces by what a budget leaves, as soon as its slot is in one, and as long as it is', () => {
    const { slot, asked, budgetOf } = pool(CARD);
    const largest = () => Math.max(...asked.splice(0));
    slot.alloc(2 * GiB, true);
    expect(largest()).toBe(CARD / 512);
    const membership = budgetOf(8 * GiB).add(slot);
    slot.alloc(GiB, true);
    expect(largest()).toBe((8 * GiB) / 2048);
    membership.dispose();
    slot.alloc(2 * GiB, true);
    expect(largest()).toBe(CARD / 512);
  });

  test('gives whole pieces back by itself before the budget has to ask', () => {
    const { slot, budgetOf } = pool(CARD);
    const budget = budgetOf(GiB);
    budget.add(slot);
    const blocks = Array.from({ length: 51 }, () => slot.alloc(20 * MiB, true));
    blocks.forEach((ptr, i) => {
      if (i % 2 === 1) slot.unlock(ptr, true);
    });
    // More than any of them has; the slack alone would leave the pool 1.1 times the peak.
    slot.alloc(22 * MiB, true);
    expect(budget.report()).toMatchObject({ reclaimCount: 0, refusals: 0 });
  });

  test('gives back what a budget that it joins late does not leave it', () => {
    const { device, slot, budgetOf } = pool(CARD);
    const blocks = Array.from({ length: 64 }, () => slot.alloc(GiB, true));
    for (const ptr of blocks.slice(1)) slot.unlock(ptr, true);
    expect(device.liveBytes).toBeGreaterThanOrEqual(64 * GiB);
    const budget = budgetOf(4 * GiB);
    budget.add(slot);
    expect(device.liveBytes).toBeLessThanOrEqual(4 * GiB);
    slot.alloc(2.5 * GiB, true);
    expect(budget.report().refusals).toBe(0);
  });
});
