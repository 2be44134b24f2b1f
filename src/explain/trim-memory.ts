import { trimNativeHeap } from '../../adapters/os/native-heap.js';
import { residentSetBytes } from '../../adapters/os/resident-memory.js';
import { attempt } from '../core/attempt.js';
import { MemoryError } from '../core/errors.js';
import { memoryHosts } from '../core/memory-host.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { HandleWatch } from '../runtime/handle-watch.js';

/** Which steps {@link trimMemory} takes. */
export interface TrimOptions {
  /** Whether V8 collects garbage. It does so at most as often as dropped handles may ask for it: 10 times a second, 2 % of the time. @defaultValue true */
  readonly v8?: boolean;
  /** Whether managers give back what they cache. @defaultValue true */
  readonly managers?: boolean;
  /** Whether the C library gives back what it keeps free. @defaultValue true */
  readonly cLibrary?: boolean;
}

const OPTIONS: OptionNames<TrimOptions> = { v8: true, managers: true, cLibrary: true };

/** What one step gave back. */
export interface TrimStep {
  readonly step: 'V8' | 'managers' | 'C library';
  /** By how much the resident set became smaller: that of the machine's pages, not what a library counts. */
  readonly bytes: number;
  /** Why nothing was tried; undefined when it was. */
  readonly skipped?: string;
}

/** What {@link trimMemory} did. */
export interface TrimReport {
  readonly beforeBytes: number;
  readonly afterBytes: number;
  /** In the order in which they were taken. */
  readonly steps: readonly TrimStep[];
}

/**
 * Gives memory back that nobody uses: V8 collects garbage, managers give back what they cache, the C library what it keeps free.
 * In this order: what one step frees, the next gives back. It waits for nothing, so handles that V8 finds dropped free their memory
 * later.
 *
 * Only whole pages go back: where live blocks lie between free ones, the C library can give nothing. A manager that fails becomes a
 * process warning.
 *
 * Cost: a full collection, and about 0.2 s a GiB that goes.
 */
export function trimMemory(options: TrimOptions = {}): TrimReport {
  checkOptionNames('trimMemory', options, OPTIONS);
  const { v8 = true, managers = true, cLibrary = true } = options;
  const beforeBytes = residentSetBytes();
  const steps: TrimStep[] = [];
  let bytes = beforeBytes;
  const take = (step: TrimStep['step'], wanted: boolean, work: () => string | undefined) => {
    const skipped = wanted ? work() : 'not asked for';
    const now = residentSetBytes();
    steps.push({
      step,
      bytes: skipped === undefined ? Math.max(0, bytes - now) : 0,
      ...(skipped === undefined ? {} : { skipped }),
    });
    bytes = now;
  };
  take('V8', v8, () => (HandleWatch.shared().pressure.collectNow() ? undefined : 'a collection was made a moment ago'));
  take('managers', managers, releaseCaches);
  take('C library', cLibrary, trimCLibrary);
  return { beforeBytes, afterBytes: bytes, steps };
}

function releaseCaches(): undefined {
  for (const host of memoryHosts()) {
    for (const slot of [host.slot, host.pinnedSlot]) attempt(() => slot.signalMemoryCleanup());
  }
}

function trimCLibrary(): string | undefined {
  try {
    trimNativeHeap();
    return undefined;
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) return error.message;
    throw error;
  }
}
