import { CpuDevice } from '../../adapters/devices/cpu.js';
import { libc } from '../../adapters/os/libc.js';
import { nativeView } from '../../adapters/os/native-view.js';
import { TlsfMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { median } from './statistics.js';

/** What a user's calls are compared with. */
export const MALLOC = "koffi's malloc, free";
export const VIEWED = "koffi's malloc, view, write, free";
export const HANDLE = 'runtime.allocate, dispose';
export const VIEWED_HANDLE = 'runtime.allocate, view, write, dispose';

/** The sizes of the blocks. */
export const CALL_SIZES: readonly number[] = [KiB, 64 * KiB, MiB];

/** What is measured in one process, by turns; the first one is what the others are compared with. */
export const CALL_GROUPS = ['plain', 'viewed', 'tag', 'scope', 'manager', 'device', 'stream'] as const;
export type CallGroup = (typeof CALL_GROUPS)[number];

/** Nanoseconds of one way to get a block of each size and to give it back. */
export interface CallRow {
  readonly call: string;
  /** The call that {@link ratios} are of; the row of itself when that is the same. */
  readonly comparedWith: string;
  /** By size. */
  readonly ns: readonly number[];
  /** By size: the median of what each round took, over what the other call took in it. */
  readonly ratios: readonly number[];
}

/** Gets a block and gives it back, so many times. */
type Work = (times: number) => void;
interface Call {
  readonly name: string;
  readonly work: Work;
}

const ROUND_MS = 8;
const WARM_ROUNDS = 3;

/**
 * Measures one group. For a process of its own: what a program has said once, such as a tag, makes every later allocation look.
 *
 * @param bytes - of each block
 */
export function measureCalls(group: CallGroup, bytes: number, rounds: number): { call: string; ns: number; ratio: number }[] {
  using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
  if (group === 'plain') return measured(plain(runtime, bytes), rounds);
  if (group === 'viewed') return measured(viewed(runtime, bytes), rounds);
  const handle = { name: HANDLE, work: handles(runtime, bytes) };
  const before = measured([handle], rounds)[0]!;
  // The plain handle cannot be measured by turns any more: the process has said something.
  const [inside] = within(runtime, group, () => measured([{ name: `… ${SAID[group]}`, work: handles(runtime, bytes) }], rounds));
  return [before, { ...inside!, ratio: inside!.ns / before.ns }];
}

const SAID: { readonly [G in Exclude<CallGroup, 'plain' | 'viewed'>]: string } = {
  tag: 'inside runtime.tag',
  scope: 'inside runtime.scoped',
  manager: 'inside runtime.withManager',
  device: 'inside runtime.withDevice',
  stream: 'inside runtime.withStream',
};

function within<T>(runtime: MemoryRuntime, group: keyof typeof SAID, fn: () => T): T {
  switch (group) {
    case 'tag':
      return runtime.tag('bench', fn);
    case 'scope':
      return runtime.scoped(fn);
    case 'manager':
      return runtime.withManager(new TlsfMemoryManager(1, new MemoryManagerDeviceInterface()), fn);
    case 'device':
      return runtime.withDevice(0, fn);
    case 'stream':
      return runtime.withStream(0, fn);
  }
}

function handles(runtime: MemoryRuntime, bytes: number): Work {
  return (times) => {
    for (let i = 0; i < times; i++) runtime.allocate(bytes).dispose();
  };
}

function plain(runtime: MemoryRuntime, bytes: number): Call[] {
  const malloc = libc().func<(bytes: number) => number>('malloc', 'uintptr_t', ['size_t']);
  const free = libc().func<(ptr: number) => void>('free', 'void', ['uintptr_t']);
  const { slot } = runtime;
  return [
    {
      name: MALLOC,
      work: (times) => {
        for (let i = 0; i < times; i++) free(malloc(bytes));
      },
    },
    {
      name: 'slot.alloc, unlock',
      work: (times) => {
        for (let i = 0; i < times; i++) slot.unlock(slot.alloc(bytes, true), true);
      },
    },
    { name: HANDLE, work: handles(runtime, bytes) },
    {
      name: '… share',
      work: (times) => {
        for (let i = 0; i < times; i++) runtime.allocate(bytes).share().dispose();
      },
    },
    {
      name: '… with an option',
      work: (times) => {
        for (let i = 0; i < times; i++) runtime.allocate(bytes, { tag: 'bench' }).dispose();
      },
    },
  ];
}

function viewed(runtime: MemoryRuntime, bytes: number): Call[] {
  const malloc = libc().func<(bytes: number) => number>('malloc', 'uintptr_t', ['size_t']);
  const free = libc().func<(ptr: number) => void>('free', 'void', ['uintptr_t']);
  return [
    {
      name: VIEWED,
      work: (times) => {
        for (let i = 0; i < times; i++) {
          const ptr = malloc(bytes);
          new Float32Array(nativeView(ptr, bytes))[0] = i;
          free(ptr);
        }
      },
    },
    {
      name: VIEWED_HANDLE,
      work: (times) => {
        for (let i = 0; i < times; i++) {
          const block = runtime.allocate(bytes);
          block.view(Float32Array)[0] = i;
          block.dispose();
        }
      },
    },
    {
      name: 'Buffer.allocUnsafeSlow, write',
      work: (times) => {
        for (let i = 0; i < times; i++) Buffer.allocUnsafeSlow(bytes)[0] = i;
      },
    },
    {
      name: 'Buffer.alloc',
      work: (times) => {
        for (let i = 0; i < times; i++) Buffer.alloc(bytes);
      },
    },
  ];
}

/** Measures calls by turns, in processor time of the whole process: the collector's threads are in it. */
function measured(calls: readonly Call[], rounds: number): { call: string; ns: number; ratio: number }[] {
  const times = calls.map(({ work }) => timesIn(work, ROUND_MS));
  const ns: number[][] = calls.map(() => []);
  for (let round = 0; round < WARM_ROUNDS + rounds; round++) {
    calls.forEach(({ work }, i) => {
      const took = cpuNs(() => work(times[i]!)) / times[i]!;
      if (round >= WARM_ROUNDS) ns[i]!.push(took);
    });
  }
  return calls.map(({ name }, i) => ({
    call: name,
    ns: median(ns[i]!),
    ratio: median(ns[i]!.map((value, round) => value / ns[0]![round]!)),
  }));
}

/** How many times take about so long, once V8 has optimised them. */
function timesIn(work: Work, ms: number): number {
  let times = 16;
  let took = 0;
  for (let tries = 0; tries < 24 && took < ms * 1e6; tries++) {
    took = cpuNs(() => work(times));
    if (took < ms * 1e6) times *= 2;
  }
  return times;
}

function cpuNs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) * 1000;
}
