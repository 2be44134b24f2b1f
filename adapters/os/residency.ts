import { GiB } from '../../src/core/units.js';
import { checkErrno } from '../ffi/library.js';
import { libcFunction } from './libc.js';
import { pageBytes } from './mapping.js';

const RESIDENT = 1;
const STEP_BYTES = GiB;

const mincore = libcFunction('mincore', 'int', ['uintptr_t', 'size_t', 'uint8_t *']);

/**
 * Counts the pages of a range that are in physical memory. Of a shared mapping that is what any process has touched.
 * Cost: O(pages), about 10 us a MiB.
 *
 * @param address - the start of a page
 * @returns bytes, whole pages
 * @throws ERR_MEM_NATIVE: ENOMEM for a range that is not mapped
 */
export function residentBytes(address: number, bytes: number): number {
  const page = pageBytes();
  const states = new Uint8Array(Math.ceil(Math.min(bytes, STEP_BYTES) / page));
  let pages = 0;
  for (let offset = 0; offset < bytes; offset += STEP_BYTES) {
    const step = Math.min(STEP_BYTES, bytes - offset);
    checkErrno('mincore', mincore(address + offset, step, states));
    const count = Math.ceil(step / page);
    for (let i = 0; i < count; i++) pages += (states[i] as number) & RESIDENT;
  }
  return pages * page;
}
