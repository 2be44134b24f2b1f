import { checkArgument } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { explainFromInside } from './inside-view.js';
import type { MemoryExplanation } from './memory-explanation.js';
import { explainFromOutside } from './outside-view.js';

/** What {@link explainMemory} explains. */
export interface ExplainOptions {
  /** A process of the same user. @defaultValue this one */
  readonly pid?: number;
}

const OPTIONS: OptionNames<ExplainOptions> = { pid: true };

/**
 * Tells what the resident set is made of: V8's heap by space, code, ArrayBuffers; managers; the heap of the C library, live and kept
 * free, by arena; mapped files, shared segments, stacks, binaries, WebAssembly, drivers. Cost: some 10 ms, and some ms a GiB that is
 * mapped; it stops the program for that time.
 *
 * Of another process it tells what the kernel says: V8 and the C library can be asked from inside alone.
 *
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM outside of Linux
 * @throws ERR_MEM_INVALID_ARGUMENT for a process that is not there, or that this user may not look into
 */
export function explainMemory(options: ExplainOptions = {}): MemoryExplanation {
  checkOptionNames('explainMemory', options, OPTIONS);
  const { pid = process.pid } = options;
  checkArgument(Number.isInteger(pid) && pid > 0 && pid < 2 ** 31, 'pid', pid, "a process's number");
  return pid === process.pid ? explainFromInside() : explainFromOutside(pid);
}
