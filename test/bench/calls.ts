import { CpuDevice } from '../../adapters/devices/cpu.js';
import { libc } from '../../adapters/os/libc.js';
import { nativeView } from '../../adapters/os/native-view.js';
import { TlsfMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/memory-budget.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { Releasable } from '../../src/core/disposable.js';
import { GiB, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { SharedLedger } from '../../src/shared/budget/shared-ledger.js';
import { recordFlight } from '../../src/trace/recording/flight-recorder.js';
import { median } from './statistics.js';

/** What a user's calls are compared with. */
export const MALLOC = "koffi's malloc, free";
export const VIEWED = "koffi's malloc, view, write, free";
export const HANDLE = 'runtime.allocate, dispose';
export const TAGGED = '… with an option';
export const NATIVE = 'table.nativeAlloc, nativeFree';
export const VIEWED_HANDLE = 'runtime.allocate, view, write, dispose';

/** The sizes of the blocks. */
export const CALL_SIZES: readonly number[] = [KiB, 64 * KiB, MiB];

/** A way to get a block and to give it back, which is measured in a process of its own. */
interface Call {
  readonly name: string;
  /** The name of the call that this one is compared with; its own for those that are compared with nothing. */
  readonly comparedWith: string;
  /** Makes what does it so many times, for blocks of that size. @param keep - takes what is to be disposed of at the end */
  readonly prepare: (runtime: MemoryRuntime, bytes: number, keep: Keep) => Work;
  /** Makes what surrounds it. */
  readonly around?: (runtime: MemoryRuntime) => (fn: () => void) => void;
}

/** Gets a block and gives it back, so many times. */
type Work = (times: number) => void;
type Keep = <R extends Releasable>(resource: R) => R;

/** A call that is ready to be measured. */
export interface PreparedCall extends Releasable {
  /** Measures a round: nanoseconds of processor time of the whole process, the collector's threads included. */
  round(): number;
}

/** What a call costs with blocks of each size. */
export interface CallRow {
  readonly call: string;
  readonly comparedWith: string;
  /** Nanoseconds, by size. */
  readonly ns: readonly number[];
  /** By size: over what the other call takes in the same round. */
  readonly ratios: readonly number[];
}

/** Nanoseconds, by call in the order of {@link CALLS}, size and round. */
export type CallTimes = readonly (readonly number[][])[];

const ROUND_MS = 8;
const WARM_MS = 300;
const TRIES = 5;

const malloc = () => libc().func<(bytes: number) => number>('malloc', 'uintptr_t', ['size_t']);
const free = () => libc().func<(ptr: number) => void>('free', 'void', ['uintptr_t']);
const handles = (runtime: MemoryRuntime, bytes: number): Work => {
  return (times) => {
    for (let i = 0; i < times; i++) runtime.allocate(bytes).dispose();
  };
};
const within = (what: string, around: NonNullable<Call['around']>): Call => ({
  name: `… inside runtime.${what}`,
  comparedWith: HANDLE,
  prepare: handles,
  around,
});

/** Handles with a tag. */
const tagged = (runtime: MemoryRuntime, bytes: number): Work => {
  return (times) => {
    for (let i = 0; i < times; i++) runtime.allocate(bytes, { tag: 'bench' }).dispose();
  };
};
/** The native calls of a manager. */
const natives = ({ slot }: MemoryRuntime, bytes: number): Work => {
  const table = slot.active!.deviceInterface;
  return (times) => {
    for (let i = 0; i < times; i++) table.nativeFree(table.nativeAlloc(bytes));
  };
};
/** How a budget is used. */
interface BudgetUse {
  readonly tenant?: string;
  /** Whether other workers could share it. */
  readonly isShared?: boolean;
}
/** Does the same work in a budget. */
const inBudget = (name: string, comparedWith: string, prepare: Call['prepare'], how: BudgetUse = {}): Call => ({
  name,
  comparedWith,
  prepare: (runtime, bytes, keep) => {
    const member = { name: 'bench', priority: 0, minimumBytes: 0 };
    const shared = () => keep(SharedLedger.create({ limitBytes: GiB }, member));
    const budget = keep(new MemoryBudget({ limit: GiB, ...(how.isShared === true ? { ledger: shared() } : {}) }));
    budget.add(runtime);
    if (how.tenant !== undefined) budget.tenant(how.tenant, { limit: GiB / 2 });
    return prepare(runtime, bytes, keep);
  },
});

const byItself: NonNullable<Call['around']> = () => (fn) => fn();

/** In the order of the table: what others are compared with stands before them. */
export const CALLS: readonly Call[] = [
  {
    name: MALLOC,
    comparedWith: MALLOC,
    prepare: (_runtime, bytes) => {
      const [get, give] = [malloc(), free()];
      return (times) => {
        for (let i = 0; i < times; i++) give(get(bytes));
      };
    },
  },
  {
    name: 'slot.alloc, unlock',
    comparedWith: MALLOC,
    prepare: ({ slot }, bytes) => {
      return (times) => {
        for (let i = 0; i < times; i++) slot.unlock(slot.alloc(bytes, true), true);
      };
    },
  },
  { name: HANDLE, comparedWith: MALLOC, prepare: handles },
  {
    name: '… share',
    comparedWith: HANDLE,
    prepare: (runtime, bytes) => {
      return (times) => {
        for (let i = 0; i < times; i++) runtime.allocate(bytes).share().dispose();
      };
    },
  },
  {
    name: TAGGED,
    comparedWith: HANDLE,
    prepare: tagged,
  },
  within('tag', (runtime) => (fn) => runtime.tag('bench', fn)),
  within('scoped', (runtime) => (fn) => runtime.scoped(fn)),
  within('withDevice', (runtime) => (fn) => runtime.withDevice(0, fn)),
  within('withStream', (runtime) => (fn) => runtime.withStream(0, fn)),
  within('withManager', (runtime) => {
    const manager = new TlsfMemoryManager(1, new MemoryManagerDeviceInterface());
    return (fn) => runtime.withManager(manager, fn);
  }),
  {
    name: '… with a flight recorder',
    comparedWith: HANDLE,
    prepare: (runtime, bytes, keep) => {
      keep(recordFlight(runtime, 'never-written.stowtrace'));
      return handles(runtime, bytes);
    },
  },
  inBudget('… whose runtime is in a budget', HANDLE, handles),
  inBudget('… with a tenant', TAGGED, tagged, { tenant: 'bench' }),
  { name: NATIVE, comparedWith: MALLOC, prepare: natives },
  inBudget('… in a budget', NATIVE, natives),
  inBudget('… in a shared budget', NATIVE, natives, { isShared: true }),
  {
    name: VIEWED,
    comparedWith: VIEWED,
    prepare: (_runtime, bytes) => {
      const [get, give] = [malloc(), free()];
      return (times) => {
        for (let i = 0; i < times; i++) {
          const ptr = get(bytes);
          new Float32Array(nativeView(ptr, bytes))[0] = i;
          give(ptr);
        }
      };
    },
  },
  {
    name: VIEWED_HANDLE,
    comparedWith: VIEWED,
    prepare: (runtime, bytes) => {
      return (times) => {
        for (let i = 0; i < times; i++) {
          const block = runtime.allocate(bytes);
          block.view(Float32Array)[0] = i;
          block.dispose();
        }
      };
    },
  },
  {
    name: 'Buffer.allocUnsafeSlow, write',
    comparedWith: VIEWED,
    prepare: (_runtime, bytes) => {
      return (times) => {
        for (let i = 0; i < times; i++) Buffer.allocUnsafeSlow(bytes)[0] = i;
      };
    },
  },
  {
    name: 'Buffer.alloc',
    comparedWith: VIEWED,
    prepare: (_runtime, bytes) => {
      return (times) => {
        for (let i = 0; i < times; i++) Buffer.alloc(bytes);
      };
    },
  },
];

/**
 * Prepares one call, until V8 has optimised it. For a process of its own: what a program has said once, such as a tag, makes every
 * later allocation look, and what one call leaves the collector is not another's.
 *
 * @param bytes - of each block
 * @param warmMs - what it runs at least: by default until V8 has optimised it
 * @param roundMs - about how long a round takes
 */
export function prepareCall(name: string, bytes: number, warmMs = WARM_MS, roundMs = ROUND_MS): PreparedCall {
  const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
  // Not that of a slot that is used before its runtime.
  runtime.slot.install(runtime.createDefaultManager());
  const { prepare, around = byItself } = CALLS.find((call) => call.name === name)!;
  const kept: Releasable[] = [];
  const work = prepare(runtime, bytes, (resource) => {
    kept.push(resource);
    return resource;
  });
  const enter = around(runtime);
  const timed = (times: number) => {
    let ns = 0;
    enter(() => {
      ns = cpuNs(() => work(times));
    });
    return ns;
  };
  for (let warmNs = 0; warmNs < warmMs * 1e6; ) warmNs += timed(100);
  const times = timesIn(timed, roundMs);
  const dispose = () => {
    while (kept.length > 0) kept.pop()!.dispose();
    runtime.close();
  };
  return { round: () => timed(times) / times, dispose, [Symbol.dispose]: dispose };
}

/** A row a call: medians over the rounds. */
export function callRows(times: CallTimes): CallRow[] {
  return CALLS.map(({ name, comparedWith }, i) => {
    const bySize = times[i]!;
    const others = times[CALLS.findIndex((call) => call.name === comparedWith)]!;
    const ratios = bySize.map((ns, size) => median(ns.map((value, round) => value / others[size]![round]!)));
    return { call: name, comparedWith, ns: bySize.map(median), ratios };
  });
}

/**
 * How many times take about so long, by the quickest of some tries: a collection that falls into one of few times is not what they
 * take, and rounds of so few would mostly miss it.
 */
function timesIn(timed: (times: number) => number, ms: number): number {
  let times = 1;
  const leastNs = () => Math.min(...Array.from({ length: TRIES }, () => timed(times)));
  while (leastNs() < ms * 1e6) times *= 2;
  return times;
}

function cpuNs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) * 1000;
}
