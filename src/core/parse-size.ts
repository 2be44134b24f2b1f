import { checkArgument } from './errors.js';
import { GiB, KiB, MiB } from './units.js';

/** Units by powers of two, and those by powers of ten. */
const BYTES_OF_UNIT: ReadonlyMap<string, number> = new Map([
  ...Object.entries({ '': 1, b: 1, kib: KiB, mib: MiB, gib: GiB, tib: 1024 * GiB }),
  ...Object.entries({ kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 }),
]);
const SIZE = /^(\d+(?:\.\d+)?) ?([a-z]*)$/;
/** A letter that some take for a power of two, and others for one of ten. */
const LIKE_A_UNIT = /^[kmgt]$/;

/**
 * Reads a size that a person wrote: `512MiB`, `1.5 GiB`, `100MB` or `1024`; parts of a byte are dropped. KB, MB, GB and TB are powers of
 * ten, KiB, MiB, GiB and TiB of two. A number below 1024 has to have a unit.
 *
 * @param name - what the size is for, for messages
 * @returns a positive number of bytes
 * @throws ERR_MEM_INVALID_ARGUMENT
 */
export function parseSize(name: string, text: string): number {
  const [, amount = '', unit = ''] = SIZE.exec(text.trim().toLowerCase()) ?? [];
  const bytes = Math.floor(Number(amount) * (BYTES_OF_UNIT.get(unit) ?? Number.NaN));
  // Who writes 24 means GiB or MiB more often than bytes.
  const lacksUnit = unit === '' && bytes > 0 && bytes < KiB;
  const isSize = amount !== '' && bytes > 0 && Number.isSafeInteger(bytes) && !lacksUnit;
  const meant = lacksUnit ? `${amount}GiB` : LIKE_A_UNIT.test(unit) ? `${amount}${unit.toUpperCase()}iB` : undefined;
  const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
  const expected = `a size above 0 such as 512MiB, 1.5GiB or 1024${hint}; units are B, KiB, MiB, GiB, TiB (powers of two) and KB, MB, GB, TB (of ten)${lacksUnit ? ', and a number below 1024 needs one' : ''}`;
  checkArgument(isSize, name, JSON.stringify(text), expected);
  return bytes;
}
