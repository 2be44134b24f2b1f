import { checkArgument } from '../../src/core/errors.js';
import { GiB } from '../../src/core/units.js';
import { koffi } from '../ffi/koffi.js';

/** The most that one view spans: a byte more aborts the process. Measured with koffi 3.3.4 on Node 20.20. */
export const MAX_VIEW_BYTES = 4 * GiB;

/**
 * Gives native memory as a buffer, without a copy. Atomics on its arrays are real, also between processes; only
 * `Atomics.wait` refuses them. Nothing keeps the memory mapped: touching it afterwards ends the process.
 *
 * Cost: 1 us to some ms, because V8 counts the bytes as its own; make one for each range and slice it.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
 */
export function nativeView(address: number, bytes: number): ArrayBuffer {
  checkArgument(bytes <= MAX_VIEW_BYTES, 'bytes', bytes, 'at most 4 GiB in one view');
  return koffi().view(address, bytes);
}
