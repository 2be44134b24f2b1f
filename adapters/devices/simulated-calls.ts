import { checkArgument } from '../../src/core/errors.js';
import { MiB } from '../../src/core/units.js';

/** The names of the native calls of a simulated device. */
export const SIMULATED_CALL_NAMES = [
  'nativeAlloc',
  'nativeFree',
  'pinnedAlloc',
  'pinnedFree',
  'copy',
  'fill',
  'synchronize',
  'reserve',
  'release',
  'commit',
  'decommit',
] as const;

/** The native calls of a simulated device. */
export type SimulatedCallName = (typeof SIMULATED_CALL_NAMES)[number];

/** One native call, as a failure hook sees it. */
export interface SimulatedCall {
  readonly name: SimulatedCallName;
  /** How many native calls came before, of any kind. */
  readonly index: number;
  readonly bytes: number;
}

/** What a call costs in simulated time. */
export interface SimulatedCost {
  /** Nanoseconds a call. @defaultValue 0 */
  readonly callNs?: number;
  /** Nanoseconds a MiB. @defaultValue 0 */
  readonly mibNs?: number;
}

/** The costs of each kind of call. */
export type SimulatedCosts = { readonly [N in SimulatedCallName]?: SimulatedCost };

/**
 * Decides about a call: false lets it pass, an error is thrown by it.
 * True lets a call that asks for memory fail as out of memory; others have no such answer, so they pass.
 */
export type FailureHook = (call: SimulatedCall) => boolean | Error;

/** Counts the native calls of a simulated device, adds up their costs, and lets chosen ones fail. */
export class SimulatedCalls {
  readonly counts = Object.fromEntries(SIMULATED_CALL_NAMES.map((name) => [name, 0])) as Record<SimulatedCallName, number>;
  /** How many calls were made, of any kind. */
  total = 0;
  timeNs = 0;
  /** Asked about every call that {@link failNext} leaves over. */
  hook: FailureHook | undefined;
  readonly #costs: SimulatedCosts | undefined;
  #failures = 0;
  #error: Error | undefined;

  /** @throws ERR_MEM_INVALID_ARGUMENT when a cost is unknown or no non-negative number */
  constructor(costs: SimulatedCosts | undefined) {
    if (costs !== undefined) checkCosts(costs);
    this.#costs = costs;
  }

  /** Lets the next calls that ask for memory fail. @throws ERR_MEM_INVALID_ARGUMENT when `count` is no non-negative integer */
  failNext(count: number, error: Error | undefined): void {
    checkArgument(Number.isSafeInteger(count) && count >= 0, 'count', count, 'a non-negative integer');
    this.#failures = count;
    this.#error = error;
  }

  /**
   * Counts a call.
   *
   * @param asks - whether it asks for memory
   * @returns whether it shall fail as out of memory
   * @throws an injected error
   */
  enter(name: SimulatedCallName, bytes: number, asks: boolean): boolean {
    const index = this.total++;
    this.counts[name]++;
    const cost = this.#costs?.[name];
    if (cost !== undefined) this.timeNs += (cost.callNs ?? 0) + ((cost.mibNs ?? 0) * bytes) / MiB;
    if (asks && this.#failures > 0) {
      this.#failures--;
      if (this.#error !== undefined) throw this.#error;
      return true;
    }
    if (this.hook === undefined) return false;
    const answer = this.hook({ name, index, bytes });
    if (answer instanceof Error) throw answer;
    return asks && answer;
  }
}

function checkCosts(costs: SimulatedCosts): void {
  for (const [name, cost] of Object.entries(costs) as [string, SimulatedCost | undefined][]) {
    const isCall = (SIMULATED_CALL_NAMES as readonly string[]).includes(name);
    checkArgument(isCall, 'costs', name, `one of ${SIMULATED_CALL_NAMES.join(', ')}`);
    for (const [part, value] of Object.entries(cost ?? {}) as [string, unknown][]) {
      checkArgument(part === 'callNs' || part === 'mibNs', `costs.${name}`, part, 'callNs or mibNs');
      const isTime = typeof value === 'number' && Number.isFinite(value) && value >= 0;
      checkArgument(isTime, `costs.${name}.${part}`, value, 'a non-negative number of nanoseconds');
    }
  }
}
