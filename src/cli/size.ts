import { MemoryError } from '../core/errors.js';
import { GiB, KiB, MiB } from '../core/units.js';

const BYTES_OF_UNIT: { readonly [unit: string]: number } = { '': 1, b: 1, kib: KiB, mib: MiB, gib: GiB, tib: 1024 * GiB };
const SIZE = /^(\d+(?:\.\d+)?) ?([a-z]*)$/;

/**
 * Reads a size that a person wrote: `512MiB`, `1.5 GiB` or `1024`; parts of a byte are dropped.
 *
 * @param name - what the size is for, for messages
 * @returns a positive number of bytes
 * @throws ERR_MEM_INVALID_ARGUMENT
 */
export function parseSize(name: string, text: string): number {
  const [, amount = '', unit = ''] = SIZE.exec(text.trim().toLowerCase()) ?? [];
  const bytes = Math.floor(Number(amount) * (BYTES_OF_UNIT[unit] ?? Number.NaN));
  if (amount !== '' && bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
    name,
    value: JSON.stringify(text),
    expected: 'a size above 0 such as 512MiB, 1.5GiB or 1024 (units: B, KiB, MiB, GiB, TiB)',
  });
}
