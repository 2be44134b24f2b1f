import fc from 'fast-check';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import type { BudgetTenant } from '../../src/budget/index.js';
import { type MemoryManagerDeviceInterface, MiB } from '../../src/core/index.js';
import type { Allocation } from '../../src/runtime/index.js';

export const MAKERS = [
  CachingMemoryManager,
  DefaultMemoryManager,
  PoolMemoryManager,
  TlsfMemoryManager,
  PyTorchMemoryManager,
].map((Manager) => (count: number, deviceInterface: MemoryManagerDeviceInterface) => new Manager(count, deviceInterface));
MAKERS.push((count, deviceInterface) => new PyTorchMemoryManager(count, deviceInterface, { conf: 'expandable_segments:True' }));

export const LIMIT = 80 * MiB;
const TAGS = ['a', 'b'];
export const BUDGETS = 4;
/** The budget around each one that has one: two levels, several children. */
export const AROUND = [undefined, 0, 0, 1];

const sized = (min: number, max: number) => fc.noBias(fc.integer({ min, max }));
const SIZES = fc.oneof(sized(1, 4000), sized(4000, 3 * MiB), sized(3 * MiB, 24 * MiB));
const WHICH = fc.nat(1000);
const BUDGET = fc.nat(BUDGETS - 1);
const RUNTIME = fc.nat(MAKERS.length - 1);

type Fields = Record<string, fc.Arbitrary<unknown>>;
type ValueOf<A> = A extends fc.Arbitrary<infer Value> ? Value : never;
export const step = <const Name extends string, F extends Fields>(name: Name, fields: F) =>
  fc.record({ do: fc.constant(name), ...fields }) as fc.Arbitrary<{ do: Name } & { [Field in keyof F]: ValueOf<F[Field]> }>;
/** A random program. */
export const PROGRAM = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: step('allocate', { of: RUNTIME, bytes: SIZES, tag: fc.constantFrom(undefined, ...TAGS) }) },
    { weight: 6, arbitrary: step('free', { of: WHICH }) },
    { weight: 3, arbitrary: step('join', { of: RUNTIME, in: BUDGET, minimum: fc.constantFrom(0, 0, 4 * MiB, 21 * MiB) }) },
    { weight: 1, arbitrary: step('leave', { of: RUNTIME }) },
    { weight: 1, arbitrary: step('nest', { of: BUDGET }) },
    { weight: 1, arbitrary: step('unnest', { of: BUDGET }) },
    { weight: 1, arbitrary: step('fail', { calls: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: step('failFrees', { every: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: step('cleanUp', { of: RUNTIME }) },
    { weight: 1, arbitrary: step('swap', { of: RUNTIME, by: RUNTIME }) },
    { weight: 1, arbitrary: step('close', { of: RUNTIME }) },
    { weight: 2, arbitrary: step('reserve', { of: BUDGET, bytes: SIZES }) },
    { weight: 2, arbitrary: step('reserveAsync', { of: BUDGET, bytes: SIZES }) },
    { weight: 3, arbitrary: step('allocateReserved', { of: RUNTIME, from: WHICH, bytes: SIZES }) },
    { weight: 2, arbitrary: step('endReservation', { of: WHICH }) },
    { weight: 2, arbitrary: step('watched', { of: BUDGET, bytes: SIZES }) },
    { weight: 1, arbitrary: step('tenant', { of: BUDGET, name: fc.constantFrom(...TAGS), bytes: SIZES, minimum: SIZES }) },
    { weight: 1, arbitrary: step('endTenant', { of: WHICH }) },
    { weight: 1, arbitrary: step('segment', { of: BUDGET, name: fc.constantFrom('s', 't'), bytes: SIZES }) },
    { weight: 1, arbitrary: step('endSegment', { of: WHICH }) },
    { weight: 1, arbitrary: step('fallback', { of: RUNTIME, bytes: SIZES }) },
    { weight: 1, arbitrary: step('freeFallback', { of: WHICH }) },
    { weight: 1, arbitrary: step('limit', { bytes: sized(24 * MiB, LIMIT) }) },
  ),
  { minLength: 20, maxLength: 60, size: 'max' },
);
export type Step = ValueOf<typeof PROGRAM>[number];

export interface Block {
  readonly handle: Allocation;
  readonly bytes: number;
  /** Who is charged for it. */
  tenant: OwnTenant | undefined;
}

export interface OwnTenant {
  readonly tenant: BudgetTenant;
  readonly budget: number;
}
