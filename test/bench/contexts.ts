import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** What surrounds the allocations that are measured. */
export const CONTEXT_KINDS = ['tag', 'scope', 'device', 'stream'] as const;
export type ContextKind = (typeof CONTEXT_KINDS)[number];

/** Nanoseconds of `runtime.allocate(…).dispose()` in a stretch of a program that has said something, and before any has. */
export interface ContextRow {
  readonly context: ContextKind;
  readonly nsBefore: number;
  readonly nsInside: number;
}

const PAIRS = 20_000;
const WARM_ROUNDS = 5;

/** Measures one kind. For a process of its own: what was said once makes every later allocation look. */
export function measureContext(context: ContextKind, rounds: number): ContextRow {
  using runtime = new MemoryRuntime(new SimulatedDevice({ streams: true }), { exitReport: false });
  const pairs = () => {
    for (let i = 0; i < PAIRS; i++) runtime.allocate(100 + (i % 50) * 700).dispose();
  };
  const nsPerPair = () => {
    for (let i = 0; i < WARM_ROUNDS; i++) pairs();
    return median(Array.from({ length: rounds }, () => timed(pairs) / PAIRS));
  };
  const nsBefore = nsPerPair();
  return { context, nsBefore, nsInside: inside(runtime, context, nsPerPair) };
}

function inside(runtime: MemoryRuntime, context: ContextKind, fn: () => number): number {
  switch (context) {
    case 'tag':
      return runtime.tag('bench', fn);
    case 'scope':
      return runtime.scoped(fn);
    case 'device':
      return runtime.withDevice(0, fn);
    case 'stream':
      return runtime.withStream(0, fn);
  }
}
